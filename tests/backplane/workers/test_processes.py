from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from fanwise.backplane.workers import processes
from fanwise.backplane.workers.processes import check_system, how_it_ended, start
from fanwise.errors import SettingsError

PARENT = f"""
import sys
sys.path.insert(0, {str(Path(processes.__file__).parents[3])!r})
from fanwise.backplane.workers.processes import start
print(start(["sleep", "1000"]).pid, flush=True)
input()
"""


def test_a_child_ends_with_its_parent() -> None:
    """Also when SIGKILL has ended that."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        select.select([child], [], [])  # readable at its end (pidfd_open(2))
        os.close(child)


def test_a_child_has_a_session_of_its_own() -> None:
    """Ctrl-C of a terminal reaches the launcher alone."""
    with start(["sleep", "1000"]) as child:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
        child.kill()


@pytest.mark.parametrize(
    ("status", "words"),
    [(3, "ended with status 3"), (-9, "was ended by SIGKILL"), (-99, "was ended by signal 99")],
)
def test_how_a_process_ended(status: int, words: str) -> None:
    """In words."""
    assert how_it_ended(4711, status) == f"process 4711 {words}"


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do instead."""
    check_system()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SettingsError, match="--workers 1"):
        check_system()
