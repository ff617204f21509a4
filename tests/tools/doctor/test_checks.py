from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from fanwise.tools.doctor import checks
from fanwise.tools.doctor.findings import Level
from fanwise.tools.doctor.report import Report
from fanwise.tools.doctor.system import System
from fanwise.tools.remote import ForeignError, Remote

from ...support.documents import WORKER, document, of_workers
from ...support.processes import ServerProcess
from ..test_remote import answering
from .test_backpressure import measured
from .test_system import planted

SERVE = ("-m", "fanwise", "serve", "--port", "{port}")
BOUNDS = {"queue_messages": 1024, "queue_bytes": 1 << 20, "history_messages": 1000, "history_bytes": 4 << 20}


def levels(report: Report) -> dict[str, Level]:
    return {finding.name: finding.level for finding in report.findings}


def test_everything_that_a_real_server_shows(server_process: Callable[..., ServerProcess]) -> None:
    """Each check once, all of them ok, and what was measured."""
    remote, report = Remote(f"http://127.0.0.1:{server_process(*SERVE).port}"), Report()
    assert checks.check_processes(report, remote)
    found = checks.check_server(report, remote, publish=True)
    names = [
        "workers",
        "event loop",
        "sweeps",
        "garbage collector",
        "fast path",
        "event streams",
        "deflate",
        "backpressure",
    ]
    assert levels(report) == dict.fromkeys(names, Level.OK)
    assert report.left_out == []
    assert found is not None
    assert found.noticed
    assert checks.describe(remote).startswith(f"{remote.url}: Fanwise 0.1.0 on Python 3.")


def test_without_publishing_backpressure_is_left_out(server_process: Callable[..., ServerProcess]) -> None:
    """And said so; so is it where messages are too small to tell, and then what builds on it."""
    remote, report = Remote(f"http://127.0.0.1:{server_process(*SERVE).port}"), Report()
    assert checks.check_server(report, remote, publish=False) is None
    assert "backpressure" not in levels(report)
    assert "(--publish)" in report.left_out[0]
    small, report = Remote(f"http://127.0.0.1:{server_process(*SERVE, '--max-message-bytes', '100').port}"), Report()
    found = checks.check_server(report, small, publish=True)
    checks.check_keep_alive(report, found, ping_seconds=15, pong_seconds=8, skips=False)
    assert [sentence.partition(":")[0] for sentence in report.left_out] == ["backpressure", "keep-alive"]


def test_several_processes() -> None:
    """Are found by their numbers."""
    pids = count(1)
    with answering(200, lambda: json.dumps(document(server={"pid": next(pids) % 3})).encode()) as (url, _):
        report = Report()
        assert not checks.check_processes(report, Remote(url))
    assert levels(report) == {"workers": Level.FAIL}


def test_workers_of_one_engine() -> None:
    """Are one server, however many answer."""
    pids = count(42)
    workers = [{**WORKER, "pid": pid} for pid in (42, 43)]

    def answer() -> bytes:
        return json.dumps(of_workers(*workers, server={"pid": 42 + next(pids) % 2})).encode()

    with answering(200, answer) as (url, _):
        report = Report()
        assert checks.check_processes(report, Remote(url))
    assert levels(report) == {"workers": Level.OK}


@pytest.mark.parametrize("server", [{}, None, {"pid": "x", "loop": 1, "gc_thresholds": []}, "text"])
def test_a_document_that_looks_different(server: object) -> None:
    """Is a sentence and no traceback."""
    with answering(200, json.dumps(document(server=server)).encode()) as (url, _):
        for look in (
            checks.describe,
            lambda remote: checks.check_server(Report(), remote, publish=True),
        ):
            with pytest.raises(ForeignError, match=r"its answers look different|status|does not answer"):
                look(Remote(url))


SERVER = document()["server"]


@pytest.mark.parametrize(
    "changes",
    [
        {"now": {"clients": float("inf")}},
        {"uptime_seconds": 10**400},
        {"server": {**SERVER, "pid": float("inf")}},
        {"server": {**SERVER, "gc_thresholds": [float("-inf")]}},
    ],
    ids=["clients", "uptime", "pid", "thresholds"],
)
def test_values_that_are_too_large(changes: dict[str, object]) -> None:
    """Are a sentence as well."""

    def look(remote: Remote) -> None:
        checks.describe(remote)
        checks.check_processes(Report(), remote)
        checks.check_server(Report(), remote, publish=False)

    with answering(200, json.dumps(document(**changes)).encode()) as (url, _):
        remote = Remote(url)
        with pytest.raises(ForeignError, match="its answers look different"):
            look(remote)


def test_a_long_value_is_cut() -> None:
    """What somebody else's server says does not flood a terminal."""
    remote = Remote("http://127.0.0.1:1")
    with pytest.raises(ForeignError, match="look different") as caught, checks._reading(remote):
        raise KeyError("x" * 100_000)
    assert len(str(caught.value)) < 400


def test_the_limits_of_a_machine(tmp_path: Path) -> None:
    """Descriptors and backlog; no more clients than there are descriptors for."""
    machine, report = planted(tmp_path, **{"proc/sys/net/core/somaxconn": "128"}), Report()
    assert checks.machine_limits(report, machine, max_clients=10, backlog=2048) == 10
    assert levels(report) == {"file descriptors": Level.OK, "backlog": Level.WARN}
    report = Report()
    assert checks.machine_limits(report, System(tmp_path / "none"), max_clients=1 << 40, backlog=2048) < 1 << 40
    assert report.left_out == ["backlog: this system does not tell net.core.somaxconn"]


def test_an_oversized_queue_against_a_small_memory_limit(tmp_path: Path) -> None:
    """The planted fault: a queue of 512 MiB in a group that has 256."""
    files = {"proc/self/cgroup": "0::/fan\n", "sys/fs/cgroup/fan/memory.max": str(256 << 20)}
    machine, report = planted(tmp_path, **files), Report()
    checks.machine_memory(
        report,
        machine,
        clients=1000,
        process_bytes=60_000_000,
        memory_bytes=1 << 30,
        unsent_bytes=16_384,
        measured=None,
        **{**BOUNDS, "queue_bytes": 512 << 20},
    )
    assert levels(report) == {"memory": Level.FAIL, "queue": Level.FAIL, "kernel memory": Level.WARN}
    assert all("control group (memory.max)" in finding.found for finding in report.findings)


def test_what_the_kernel_holds_is_what_was_measured(tmp_path: Path) -> None:
    """The server's side of it; otherwise what its settings let it hold."""
    machine = planted(tmp_path)
    for found, each in ((measured(), "56.5 KB each"), (None, "84.4 KB each")):
        report = Report()
        checks.machine_memory(
            report,
            machine,
            clients=1000,
            process_bytes=60_000_000,
            memory_bytes=1 << 30,
            unsent_bytes=16_384,
            measured=found,
            **BOUNDS,
        )
        assert levels(report) == {"memory": Level.OK, "queue": Level.OK, "kernel memory": Level.OK}
        assert each in report.findings[2].found


def test_processes_share_the_memory(tmp_path: Path) -> None:
    """What one of them may take fits into the machine, what eight may take does not."""
    for processes, level in ((1, Level.OK), (8, Level.FAIL)):
        report = Report()
        checks.machine_memory(
            report,
            planted(tmp_path, **{"proc/self/cgroup": "0::/fan\n", "sys/fs/cgroup/fan/memory.max": str(4 << 30)}),
            clients=1000,
            process_bytes=60_000_000,
            memory_bytes=1 << 30,
            unsent_bytes=16_384,
            measured=None,
            processes=processes,
            **BOUNDS,
        )
        assert levels(report)["memory"] == level
    assert "shared by 8 processes" in report.findings[0].found


def test_a_machine_that_does_not_tell_its_memory(tmp_path: Path) -> None:
    """Is not judged."""
    report = Report()
    machine = System(tmp_path)
    checks.machine_memory(
        report, machine, clients=1, process_bytes=1, memory_bytes=1, unsent_bytes=1, measured=None, **BOUNDS
    )
    assert (report.findings, report.left_out) == ([], ["memory: this system does not tell how much there is"])
