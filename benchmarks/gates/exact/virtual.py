"""An event loop whose clock moves when nothing else does: what takes seconds takes none, and the same in every run."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Any

from benchmarks.harness import StillLoop

from .clock import Clock


class NothingToComeError(RuntimeError):
    """The loop waits for ever."""


class _Selector(selectors.DefaultSelector):
    """Waits for no longer than it takes to see what is there; the clock moves on instead."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.waits = 0  # that took time, and ended because it was time
        self.selects = 0

    def select(self, timeout: float | None = None) -> Any:
        self.selects += 1
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        self.waits += 1
        if timeout is None:
            raise NothingToComeError
        self._clock.now += timeout
        return found


class VirtualLoop(StillLoop):
    """An event loop on a clock.

    Attributes:
        clock: Its clock.
        turns: How often `turn` was called.
    """

    def __init__(self, clock: Clock) -> None:
        self._waiter = _Selector(clock)
        super().__init__(self._waiter)
        self.clock = clock
        self.turns = 0

    def time(self) -> float:
        """Now."""
        return self.clock.now

    @property
    def waits(self) -> int:
        """How often time has passed while the loop had nothing to do."""
        return self._waiter.waits

    @property
    def selects(self) -> int:
        """How often the loop has turned, on whoever's behalf."""
        return self._waiter.selects

    def turn(self) -> None:
        """Runs what is due, once; the clock stands still."""
        self.turns += 1
        self.call_soon(self.stop)
        self.run_forever()

    def turn_until(self, done: Callable[[], bool], *, most: int = 1000) -> int:
        """Turns until it is so; returns how often. Raises NothingToComeError when that is in vain."""
        begin = self.turns
        while not done():
            if self.turns - begin >= most:
                raise NothingToComeError
            self.turn()
        return self.turns - begin
