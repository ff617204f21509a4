"""A virtual event loop: callbacks of this instant, and timers. No sockets, no tasks, no waiting."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast


class VirtualLoop:
    """Owns the clock: callbacks run at once and in order, timers at their time. Nothing takes any time."""

    def __init__(self, *, begins: float = 0.0) -> None:
        self._now = begins
        self._ready: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0  # of timers, so that those of one instant keep their order

    def time(self) -> float:
        """Returns the virtual time in seconds."""
        return self._now

    def get_debug(self) -> bool:
        """Returns False: there are no sockets that could be compared with leases."""
        return False

    def call_soon(self, call: Callable[..., object], *args: object) -> None:
        """Has `call` called in this instant, after those that wait already."""
        self._ready.append((call, args))

    def call_at(self, when: float, call: Callable[[], object]) -> None:
        """Has `call` called at `when`, or at once if that is over; never, if it is infinite."""
        if when < math.inf:
            self._number += 1
            heapq.heappush(self._timers, (max(when, self._now), self._number, call))

    def settle(self) -> None:
        """Runs what waits for this instant, and what that brings along."""
        while self._ready:
            call, args = self._ready.popleft()
            call(*args)

    def run_until(self, end: float) -> None:
        """Runs timers and callbacks up to `end`."""
        self.settle()
        while self._timers and self._timers[0][0] <= end:
            self._now, _, call = heapq.heappop(self._timers)
            call()
            self.settle()
        self._now = end

    def as_loop(self) -> asyncio.AbstractEventLoop:
        """Returns itself as what sweeps and turns take; of an event loop they use the methods of this class alone."""
        return cast("asyncio.AbstractEventLoop", self)


def finish(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that waits for nothing but its next turn."""
    try:
        while True:
            work.send(None)
    except StopIteration:
        return
