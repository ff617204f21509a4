"""The tree is clean under ruff and mypy, and no test sleeps: part of every run, so that one command tells all."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support.processes import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=["lint", "format", "types"]
)
def test_the_tree_is_clean(command: list[str]) -> None:
    """As `tox -e lint` and `tox -e typing` see it."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


SLEEPS = ("sleep", "wait_for_timeout")
# {file or folder: why it sleeps}. A test waits for what happens: an event, a line, `until`.
SLEEPERS = {
    "tests/support/live.py": "`until`, which asks for what has no event; and uvicorn's own loop, quicker",
    "tests/support/applications.py": "an endpoint that holds the event loop on purpose",
    "tests/support/churn_server.py": "the pace at which a server of its own ends clients",
    "tests/system/test_endurance.py": "the pace of publishers",
    "tests/backplane/checker/": "the pace of publishers, of clients that come and go, and of faults",
    "benchmarks/backplane.py": "the pace of publications",
    "benchmarks/accuracy_rooms.py": "the pace of messages, and of a reader that is slow",
    "benchmarks/accuracy_server.py": "the times of publications, and between two looks at the memory",
    "benchmarks/storm.py": "the pace of round trips, and quiet before and after a storm",
    "tests/system/pauses.py": "the pauses of readers, and the pace of publishers",
    "tests/system/hostile/": "the pace of probes, and of traffic that is honest",
    "benchmarks/gates/exact/wakeups.py": "seconds of a clock that is not real, in which a server is idle",
}


def sleeps(path: Path) -> Iterator[int]:
    """The lines in which a file calls something named `sleep`, but for `sleep(0)`, which is a turn of the loop."""
    text = path.read_text()
    if not any(name in text for name in SLEEPS):  # most files: parsing all of them takes a second
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in SLEEPS:
            turn = [ast.unparse(one) for one in node.args] == ["0"]
            if not turn:
                yield node.lineno


def test_no_test_sleeps() -> None:
    """Time that passes is no event: too short on a busy machine, too long on every other."""
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for line in sleeps(path)
    }
    assert [one for one in found if not one.startswith(tuple(SLEEPERS))] == []
    assert [name for name in SLEEPERS if not any(one.startswith(name) for one in found)] == []


def test_a_sleep_is_found(tmp_path: Path) -> None:
    """However it is called; a turn of the loop is none."""
    file = tmp_path / "test_it.py"
    file.write_text("time.sleep(1)\nawait asyncio.sleep(0)\nawait asyncio.sleep(seconds)\npage.wait_for_timeout(50)\n")
    assert sorted(sleeps(file)) == [1, 3, 4]
