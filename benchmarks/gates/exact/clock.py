"""Seconds that pass when they are told to."""

from __future__ import annotations

import time

_BEGIN = 1000.0


class Clock:
    """A clock.

    Attributes:
        now: Seconds since it began.
    """

    def __init__(self) -> None:
        self.now = _BEGIN

    def __call__(self) -> float:
        """Now."""
        return self.now

    def install(self) -> None:
        """Makes it the clock of this process, of all modules that are imported from here on."""
        time.monotonic = time.perf_counter = self


CLOCK = Clock()
