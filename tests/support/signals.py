"""Signals as a terminal would give them, however the tests were started."""

from __future__ import annotations

import signal
from types import FrameType

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def restore() -> None:
    """Makes SIGINT and SIGTERM interrupt this process, and undoes what a script's background or nohup has ignored.

    An ignored signal stays ignored in every child, also through exec; one with a handler is at its default there. So
    this is enough for all processes that tests start, by whatever means.
    """
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore if number == signal.SIGHUP else signal.SIG_DFL)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ends the run in order: fixtures are torn down, and a summary is printed."""
    raise KeyboardInterrupt


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """As nohup asked for, but without an effect on children."""
