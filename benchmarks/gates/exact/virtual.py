"""An event loop whose clock moves when nothing else does: what takes seconds takes none, and the same in every run."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import Any

from benchmarks.harness import StillLoop

from .clock import Clock

PATIENCE = 100
STEP_SECONDS = 0.000_5


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
        callbacks: How often anything was scheduled, for the next turn or for later.
    """

    def __init__(self, clock: Clock) -> None:
        self._waiter = _Selector(clock)
        super().__init__(self._waiter)
        self.clock = clock
        self.turns = 0
        self.callbacks = 0
        self._began = 0  # at that turn

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

    def call_soon(  # type: ignore[override] # its type variables say no more
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Counts, and schedules."""
        self.callbacks += 1
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override] # its type variables say no more
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Counts, and schedules."""
        self.callbacks += 1
        return super().call_at(when, callback, *args, context=context)

    def begin(self) -> None:
        """Has the clock stand still again."""
        self._began = self.turns

    def turn(self) -> None:
        """Runs what is due, once. The clock stands still for PATIENCE turns, and then what is waited for is a timer."""
        self.turns += 1
        if self.turns - self._began > PATIENCE:
            self.clock.now += STEP_SECONDS
        self.call_soon(self.stop)
        self.run_forever()
