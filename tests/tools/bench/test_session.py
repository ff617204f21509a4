from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanwise.cli.bench import bench, read_options
from fanwise.tools.bench.options import Options
from fanwise.tools.bench.session import Session

from ...support import bad_server as bad
from ...support.bad_server import bad_server
from ...support.processes import ROOT, clean_environ


def options(**given: Any) -> Options:
    """As the command reads them: its defaults, but for `given`."""
    return read_options({**bench.make_context("bench", []).params, **given})


@pytest.fixture(autouse=True)
def _same_cpus() -> Iterator[None]:
    """A session may pin the process that it runs in."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


def session(**given: Any) -> tuple[int, str]:
    results = io.StringIO()
    small = {"clients": 20, "duration": "0.3", "pin": False, **given}
    return Session(options(**small), progress=io.StringIO(), results=results).run(), results.getvalue()


def test_the_command_as_users_run_it(tmp_path: Path) -> None:
    """With a server of its own: figures on stdout, progress in lines on stderr, and both files."""
    report, page = tmp_path / "run.json", tmp_path / "run.html"
    args = [
        "bench",
        "--clients",
        "20",
        "--rate",
        "200",
        "--duration",
        "0.5",
        "--json",
        str(report),
        "--html",
        str(page),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "fanwise", *args],
        cwd=ROOT,
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr  # 3: this machine was too busy for a verdict
    assert "Fanwise: 20 clients, 128 bytes, 200 messages/s" in done.stdout
    assert "lost 0  duplicates 0  reordered 0  corrupt 0  undelivered 0" in done.stdout
    assert done.stderr.startswith("Fanwise: 20 clients")
    assert len(done.stderr.splitlines()) > 1
    run = json.loads(report.read_text())["runs"][0]
    assert run["deliveries"] == 20 * run["published"] == 2000
    assert run["server_process"]["cpu_per_delivery_ns"] > 0
    assert "<svg" in page.read_text()


def test_flaws_are_a_status() -> None:
    """So that a script can tell."""
    with bad_server(bad.lose) as url:
        status, told = session(url=url, rate=200.0)
    assert status == 1
    assert "lost" in told.partition("verdict")[2]


def test_against_a_rival() -> None:
    """Both run, one after the other, with the same load."""
    status, told = session(against="tutorial", rate=50.0)
    assert status in (0, 3)
    assert (
        told.index("Fanwise: 20 clients") < told.index("tutorial: 20 clients") < told.index("Fanwise against tutorial")
    )


def test_the_capacity() -> None:
    """Ends with the knee; here at the first breach, which a bound of a microsecond is."""
    status, told = session(find_capacity="max=1us", rate=2.0)
    assert status in (1, 3)
    assert "capacity within a max of 0.001 ms" in told
    assert "no rate held" in told
