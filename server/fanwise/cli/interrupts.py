"""SIGINT and SIGTERM for commands without an event loop."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # exit status that shells make of SIGINT


def interrupt_on_signals() -> None:
    """Makes SIGINT and SIGTERM raise KeyboardInterrupt.

    A process that a script starts in the background has SIGINT ignored, and Python then installs no handler for it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
