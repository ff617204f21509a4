"""Child processes that end with their parent, whatever ends that."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from ...errors import SettingsError

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_LIBC: Final = ctypes.CDLL(None)

Start: TypeAlias = Callable[[Sequence[str], Sequence[int]], "subprocess.Popen[bytes]"]
"""Starts a program, from its arguments and the descriptors that it inherits."""


def check_system() -> None:
    """Raises SettingsError where the kernel neither spreads connections nor ends orphans."""
    if sys.platform != "linux":
        problem = (
            "several workers need Linux (SO_REUSEPORT, PR_SET_PDEATHSIG): say --workers 1, or start servers one by one "
            "with one FANWISE_BACKPLANE"
        )
        raise SettingsError([problem])


def end_with(parent: int) -> None:
    """Has the kernel kill this process when the process `parent`, which has started it, ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has ended before
        os.kill(os.getpid(), signal.SIGKILL)


def start(argv: Sequence[str], descriptors: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Starts a program that ends with this process, in a session of its own: Ctrl-C is for this process alone.

    Raises:
        OSError: The program cannot be started.
    """
    return subprocess.Popen(  # noqa: S603 - the program is the operator's choice
        argv,
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
        preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - this process has one thread
    )


def how_it_ended(pid: int, status: int) -> str:
    """Returns the end of a process in words, from `Popen.returncode`."""
    if status >= 0:
        return f"process {pid} ended with status {status}"
    names = {one.value: one.name for one in signal.Signals}
    return f"process {pid} was ended by {names.get(-status, f'signal {-status}')}"
