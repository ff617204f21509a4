from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import trustme

from fanwise.cli.interrupts import INTERRUPTED

from ..support.forks import Popen
from ..support.processes import ROOT, ServerProcess, clean_environ, run
from ..tools.test_remote import answering

SERVE = ("-m", "fanwise", "serve", "--port", "{port}")
UVICORN = ("-m", "uvicorn", "fanwise.app:app", "--port", "{port}")
DOCTOR = ("-m", "tests.support.forking", "fanwise", "doctor")  # its server is a fork, as it is one itself
FEW = ("--max-clients", "1000")  # so that the default of 100,000 does not depend on the machine's limits
LOCAL = (
    "exposure", "workers", "file descriptors", "backlog", "event loop", "sweeps", "garbage collector",
    "fast path", "event streams", "deflate", "backpressure", "keep-alive", "memory", "queue", "kernel memory",
)  # fmt: skip


class Told(NamedTuple):
    """What the command has said."""

    status: int
    found: dict[str, dict[str, str]]  # {name: finding}
    left_out: str
    errors: str

    def level(self, name: str) -> str:
        return self.found[name]["level"]

    @property
    def odd(self) -> dict[str, str]:
        """{name: level} of what is not ok."""
        return {name: finding["level"] for name, finding in self.found.items() if finding["level"] != "ok"}


def doctor(
    *args: str,
    cwd: Path = ROOT,
    command: Sequence[str] = DOCTOR,
    before: Callable[[], object] | None = None,
    **environ: str,
) -> Told:
    done = run(*command, "--json", *args, cwd=cwd, before=before, environ=environ)
    assert "Traceback" not in done.stderr
    told: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"findings": [], "left_out": []}
    found = {finding["name"]: finding for finding in told["findings"]}
    assert len(found) == len(told["findings"])
    return Told(done.returncode, found, "; ".join(told["left_out"]), done.stderr)


def test_a_healthy_server() -> None:
    """Every check has its line; what is about the server is ok, whatever the machine is like.

    Its server is started as a user's is.
    """
    told = doctor(*FEW, command=("-m", "fanwise", "doctor"))
    assert tuple(told.found) == LOCAL
    assert told.left_out == ""
    about_the_machine = {"file descriptors", "backlog", "memory", "kernel memory"}
    assert told.odd.keys() <= about_the_machine, told.odd
    statuses = {"ok": 0, "warn": 1, "fail": 2}
    assert told.status == max(statuses[finding["level"]] for finding in told.found.values())


def test_low_nofile() -> None:
    """The planted fault: 256 descriptors, as a desktop's shell gives. It still looks at everything else."""
    told = doctor(before=partial(resource.setrlimit, resource.RLIMIT_NOFILE, (256, 256)))
    assert told.status == 2
    assert told.level("file descriptors") == "fail"
    assert "256 have room for 192 clients, max_clients is 100,000" in told.found["file descriptors"]["found"]
    assert "LimitNOFILE=" in told.found["file descriptors"]["fix"]
    assert tuple(told.found) == LOCAL


def test_no_fast_path_and_deflate(server_process: Callable[..., ServerProcess]) -> None:
    """The planted faults: uvicorn as it comes. Each has its line, and the fix in words of uvicorn."""
    server = server_process(*UVICORN, "--ws-per-message-deflate", "true")
    told = doctor("--url", f"http://127.0.0.1:{server.port}")
    assert told.status == 2
    assert told.odd == {
        "garbage collector": "warn",
        "fast path": "fail",
        "event streams": "warn",
        "deflate": "fail",
        "backpressure": "warn",
    }
    assert "--ws fanwise.protocol:FanwiseProtocol" in told.found["fast path"]["fix"]
    assert "--ws-per-message-deflate false" in told.found["deflate"]["fix"]
    assert "cannot be seen from outside" in told.left_out


def test_deflate_alone(server_process: Callable[..., ServerProcess]) -> None:
    """With our protocol class it costs nothing per client."""
    ours = ("--ws", "fanwise.protocol:FanwiseProtocol", "--http", "fanwise.protocol:FanwiseHttpProtocol")
    server = server_process(*UVICORN, *ours, "--ws-per-message-deflate", "true")
    told = doctor("--url", f"http://127.0.0.1:{server.port}")
    assert told.odd == {"garbage collector": "warn"}
    assert told.found["deflate"]["found"] == "permessage-deflate is accepted; no connection keeps memory for it"


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group that may take 256 MiB."""
    group, root = Path(f"/sys/fs/cgroup/fanwise-test-{os.getpid()}"), Path("/sys/fs/cgroup/cgroup.controllers")
    if not (root.exists() and "memory" in root.read_text() and os.access(root.parent, os.W_OK)):
        pytest.skip("there are no control groups of version 2 that can be written to; test_system plants them as files")
    group.mkdir()
    (group / "memory.max").write_text(str(256 << 20))
    yield group
    group.rmdir()


def test_an_oversized_queue_against_a_small_memory_limit(small_group: Path) -> None:
    """The planted fault, with a limit that the kernel itself holds the server to."""

    def join() -> None:
        (small_group / "cgroup.procs").write_text("0")

    told = doctor(*FEW, "--queue-bytes", str(512 << 20), before=join)
    assert told.status == 2
    assert told.level("memory") == "fail"
    assert told.level("queue") == "fail"
    assert "more than the 268 MB of the control group" in told.found["queue"]["found"]
    assert "--queue-bytes" in told.found["queue"]["fix"]
    told = doctor(*FEW, "--memory-bytes", str(48 << 20), before=join)
    assert (told.level("memory"), told.level("queue")) == ("ok", "ok")


def test_settings_count_wherever_they_come_from(tmp_path: Path) -> None:
    """From flags, variables and .env, as for `fanwise serve`; for what is looked at, and for what is computed."""
    tmp_path.joinpath(".env").write_text("FANWISE_LOOP=asyncio\n")
    told = doctor(*FEW, "--pong-seconds", "0.5", cwd=tmp_path, FANWISE_SOCKET_UNSENT_BYTES="100000000")
    assert told.level("event loop") == "warn"
    assert "pip install uvloop" in told.found["event loop"]["fix"]
    assert told.level("backpressure") != "ok"
    assert "have to be read in 500 ms" in told.found["keep-alive"]["found"]
    assert told.level("keep-alive") == "warn"


def test_an_engine_is_looked_at_and_left_alone() -> None:
    """Where there is none is said; the server that is tried out has no backplane, and is as it would be."""
    told = doctor(*FEW, "--workers", "2", FANWISE_BACKPLANE="redis://:a-secret@127.0.0.1:1")
    assert (told.level("engine"), told.status) == ("fail", 2)
    assert told.found["engine"]["found"].startswith("redis://127.0.0.1:1: ")
    assert {"event loop", "backpressure"} <= set(told.found)
    assert "a-secret" not in str(told)


def test_others_who_could_publish() -> None:
    """`fanwise serve` would refuse to start; said with its own words, and looked at on the loopback interface."""
    told = doctor(*FEW, "--host", "0.0.0.0")
    assert told.level("exposure") == "fail"
    assert "set FANWISE_API_KEY, or say --open" in told.found["exposure"]["found"]
    assert told.level("fast path") == "ok"
    told = doctor(*FEW, "--host", "0.0.0.0", "--open", WEB_CONCURRENCY="4")
    assert (told.level("exposure"), told.level("workers")) == ("warn", "warn")


def test_with_a_key_and_tls(tmp_path: Path) -> None:
    """Both are known from the settings; under TLS there is no fast path."""
    file = tmp_path / "server.pem"
    trustme.CA().issue_cert("example.com").private_key_and_cert_chain_pem.write_to_path(file)
    told = doctor(*FEW, "--ssl-certfile", str(file), "--ssl-keyfile", str(file), FANWISE_API_KEY="correct-horse")
    assert told.odd.keys() >= {"fast path", "event streams"}, told
    assert told.level("fast path") == "warn"
    assert told.level("backpressure") == "ok"
    assert "asks for the key" in told.found["exposure"]["found"]


def test_a_key_of_a_running_server(server_process: Callable[..., ServerProcess]) -> None:
    """Without it nothing can be looked at, which is no finding; it is not repeated in what is said."""
    server = server_process(*SERVE, FANWISE_API_KEY="correct-horse")
    url = f"http://127.0.0.1:{server.port}"
    for key, says in (([], "asks for its key"), (["--api-key", "battery-staple"], "refuses the key")):
        told = doctor("--url", url, *key)
        assert (told.status, told.found) == (3, {})
        assert says in told.errors
        assert "battery-staple" not in told.errors
    told = doctor("--url", url, "--api-key", "correct-horse")
    assert told.odd == {}
    assert "publishing asks for the key" in told.found["exposure"]["found"]
    assert doctor("--url", url, FANWISE_API_KEY="correct-horse").status == 0


def test_another_machine_is_not_published_to_by_itself(server_process: Callable[..., ServerProcess]) -> None:
    """Only with --publish. The address is one that is not called loopback, and leads here all the same."""
    url = f"http://0.0.0.0:{server_process(*SERVE, FANWISE_ALLOWED_HOSTS='*').port}"
    told = doctor("--url", url)
    assert "backpressure" not in told.found
    assert "(--publish)" in told.left_out
    assert told.odd == {"exposure": "warn"}
    assert doctor("--url", url, "--publish").level("backpressure") == "ok"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--url", "http://127.0.0.1:1"], "fanwise doctor: cannot look at http://127.0.0.1:1: nothing listens there"),
        (["--url", "nonsense"], "--url is 'nonsense': it takes a URL such as"),
        (["--url", "http://h/", "--port", "80", "--open"], "--port, --open: a server that runs already"),
        (["--port", "99999"], "fanwise doctor: FANWISE_PORT (--port) is '99999'"),
        (["--qeue-bytes", "1"], "No such option '--qeue-bytes'"),
        (["--ssl-certfile", "/nonexistent"], "fanwise doctor: ssl_certfile='/nonexistent'"),
    ],
)
def test_what_cannot_be_looked_at(args: list[str], says: str) -> None:
    """Is one sentence and status 3: 2 is for checks that fail."""
    told = doctor(*args)
    assert told.status == 3
    assert says in told.errors


def test_a_web_server_of_another_kind() -> None:
    """Is told apart."""
    with answering(404, b"nothing here") as (url, _):
        told = doctor("--url", url)
    assert told.status == 3
    assert f"{url} is not a Fanwise server" in told.errors


def test_lines_for_people(server_process: Callable[..., ServerProcess]) -> None:
    """A pipe gets no colours."""
    url = f"http://127.0.0.1:{server_process(*SERVE).port}"
    done = run(*DOCTOR, "--url", url)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert lines[0].startswith(f"{url}: Fanwise 0.1.0")
    assert "ok    event loop         uvloop" in lines
    assert lines[-1] == "8 ok, 0 warn, 0 fail"
    assert "\x1b" not in done.stdout


def listening_child(process: subprocess.Popen[Any]) -> psutil.Process | None:
    """The server that a doctor has started, as soon as it listens; None: the doctor has ended before that was seen."""
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                if any(one.status == psutil.CONN_LISTEN for one in child.net_connections()):
                    return child
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
    return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_no_server_behind(number: signal.Signals) -> None:
    """When it is told to stop meanwhile, its server stops with it. If it is done before, on a busy machine: again."""
    status = 0
    while status != INTERRUPTED:
        with Popen(
            [sys.executable, *DOCTOR, *FEW],
            cwd=ROOT,
            env=clean_environ(),
            stdout=subprocess.DEVNULL,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
        ) as process:
            server = listening_child(process)
            with suppress(psutil.NoSuchProcess):
                if server is not None:
                    server.suspend()  # so that it is not asked to stop before
                    process.send_signal(number)
                    server.resume()
            status = process.wait()
        assert server is None or not server.is_running()
