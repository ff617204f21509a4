"""`python -m tests.support.launched serve --workers 2`: `fanwise` whose workers are forks of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from fanwise.backplane.workers import processes
from fanwise.cli.main import main

from . import forks


class Popen(subprocess.Popen[bytes]):
    """`subprocess.Popen` that forks this process where the program is `python -m fanwise`; others it starts."""

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, *rest: Any
    ) -> None:
        if list(args[:3]) != [sys.executable, "-m", "fanwise"]:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, *rest)  # type: ignore[misc]
            return
        task = asyncio.current_task()
        assert task is not None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _become(args[3:], preexec_fn, {0, 1, 2, *pass_fds}, task)
            finally:  # whatever it was: this fork is no launcher
                os._exit(70)
        self._child_created = True


def _become(args: list[str], preexec_fn: Any, kept: set[int], task: asyncio.Task[Any]) -> NoReturn:
    """Makes this fork what `python -m fanwise ARGS` would be. The launcher's objects stay, on the stack below."""
    os.setsid()
    asyncio.tasks._leave_task(task.get_loop(), task)
    asyncio._set_running_loop(None)
    signal.set_wakeup_fd(-1)
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(one, signal.SIG_DFL)
    for number in {int(path.name) for path in Path("/proc/self/fd").iterdir()} - kept:
        with contextlib.suppress(OSError):  # that of the listing
            os.close(number)
    preexec_fn()
    try:
        main(args, standalone_mode=False)
    except SystemExit as end:
        forks._exit(int(end.code or 0))
    forks._exit(0)


if __name__ == "__main__":
    vars(processes)["subprocess"] = SimpleNamespace(**{**vars(subprocess), "Popen": Popen})
    main(sys.argv[1:])
