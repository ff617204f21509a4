"""Loop lag: how late the event loop calls a timer. Code that holds the loop holds up every client."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from ..core.counters import Histogram

_PERIOD_SECONDS = 0.2  # between two looks: each wakes an idle process, which is a tenth of a millisecond
_WINDOW_SECONDS = 5.0  # for how long a delay counts as recent: several polls of a health check


class LoopLag:
    """Has the event loop call it at a known time, again and again, and sees how late that is.

    Args:
        histogram: The histogram of delays, in seconds.
        on_look: Notified of each delay, in seconds.
        clock: Seconds.
    """

    def __init__(
        self,
        histogram: Histogram,
        *,
        on_look: Callable[[float], None] = lambda _late_seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._histogram = histogram
        self._on_look = on_look
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._recent: deque[tuple[float, float]] = deque()  # (when, how late), the oldest first

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to look, on the running `loop`."""
        self._loop = loop
        self._wait(self._clock())

    def stop(self) -> None:
        """Stops looking."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self._recent.clear()

    @property
    def worst_seconds(self) -> float:
        """The longest delay of the last seconds, the one that may be going on included. 0 while it is stopped."""
        if self._loop is None:
            return 0.0
        overdue = max(0.0, self._clock() - self._due)
        return max([overdue, *(late for _, late in self._recent)])

    def look(self) -> None:
        """Called by the loop when it is time."""
        now = self._clock()
        late = max(0.0, now - self._due)
        self._histogram.observe(late)
        self._on_look(late)
        self._recent.append((now, late))
        while self._recent[0][0] < now - _WINDOW_SECONDS:
            self._recent.popleft()
        self._wait(now)

    def _wait(self, now: float) -> None:
        assert self._loop is not None
        self._due = now + _PERIOD_SECONDS
        self._timer = self._loop.call_later(_PERIOD_SECONDS, self.look)
