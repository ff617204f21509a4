"""Kills what tests have started and left behind, also when the run itself was killed.

    python -m tests.support.reaper TOKEN

All processes below a run have the run's token in their environment. The reaper waits until its standard input ends, or
its parent does, and kills those that are left.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

VARIABLE = "PYTEST_RUN_TOKEN"
_LOOK_SECONDS = 1.0  # how often to look for the parent: a forked child may hold the pipe open
_ROOT = Path(__file__).parents[2]


class Reaper:
    """A process that outlives this one by as long as it takes to kill what this one has left behind."""

    def __init__(self) -> None:
        token = uuid.uuid4().hex
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.reaper", token],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            start_new_session=True,  # what ends a terminal's processes does not end it
        )
        os.environ[VARIABLE] = token

    def close(self) -> None:
        """Has everything killed that is left, and returns when it is."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def left_behind(token: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(VARIABLE) == token and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:  # gone meanwhile, or another user's
            continue


def main(token: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], _LOOK_SECONDS)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    while found := list(left_behind(token)):  # again, for those that were started meanwhile
        for process in found:
            try:
                sys.stderr.write(f"left behind by a test: {process.pid} {process.cmdline()}\n")
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(found, timeout=5)


if __name__ == "__main__":
    main(sys.argv[1])
