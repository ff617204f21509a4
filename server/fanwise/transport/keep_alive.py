"""Keep-alive for all connections of a server: one timer pings those that are due, and looks for their pongs."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

_T = TypeVar("_T")
PONG_GRACE_SECONDS: Final = 1.0  # for pongs that are here already, when the loop was late
_MOST_STEP_SECONDS: Final = 0.25
_STEPS: Final = 8  # at least, in an interval: connections that came together are not all pinged together
_PAYLOAD_BYTES: Final = 4
AT_ONCE: Final = 128  # connections that are pinged, or closed, in one turn of the loop: about a millisecond


class Pinged(Protocol):
    """A connection, as it is asked for signs of life.

    Attributes:
        place: Where in the round the connection is pinged; None: it is not, any more.
        asked: The payload of the ping that it has not answered; empty while there is none, and where there is no pong.
        asked_at: When that was sent, on the monotonic clock.
    """

    place: int | None
    asked: bytes
    asked_at: float

    def ping(self, payload: bytes) -> None:
        """Sends a ping."""

    def waits_for_peer(self) -> bool:
        """Whether a pong could not come: something is unsent, or nothing is read."""

    def no_pong(self) -> bool:
        """Hears that no pong has come in time. Returns whether the connection stays, and has as much time again."""


class KeepAlive:
    """Owns the invariant: an open connection is pinged once in an interval, and has answered in time or hears of it.

    The payload of a ping is random: a stale or guessed pong is not an answer (RFC 6455 section 5.5.3). Connections that
    are due together are pinged `AT_ONCE` at a time, in turns of the loop.

    Args:
        loop: Whose timer it is. It runs while there are connections.
        interval_seconds: Between two pings of a connection; None or 0: none is pinged.
        timeout_seconds: From a ping to its pong; None: pongs may take for ever.

    Attributes:
        interval_seconds: Between two pings of a connection; 0: none is pinged.
        timeout_seconds: From a ping to its pong; None: unlimited.
    """

    __slots__ = (
        "_asked",
        "_at",
        "_count",
        "_graced",
        "_loop",
        "_ring",
        "_running",
        "_step_seconds",
        "interval_seconds",
        "timeout_seconds",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, interval_seconds: float | None, timeout_seconds: float | None
    ) -> None:
        self.interval_seconds = interval = interval_seconds or 0.0
        self._loop = loop
        self._step_seconds = min(_MOST_STEP_SECONDS, max(interval, 0.001) / _STEPS)
        self.timeout_seconds = timeout_seconds
        self._ring: list[dict[Pinged, None]] = [{} for _ in range(round(interval / self._step_seconds))]
        self._at = 0
        self._count = 0
        self._asked: deque[tuple[float, bytes, list[Pinged]]] = deque()  # (when to look, payload, connections)
        self._graced: deque[tuple[float, bytes, list[Pinged]]] = deque()  # overdue, at their second look
        self._running = False  # whether the timer is set

    def add(self, one: Pinged) -> None:
        """Pings a connection from now on, first in an interval."""
        if not self._ring:
            return
        one.place = (self._at - 1) % len(self._ring)
        self._ring[one.place][one] = None
        self._count += 1
        if not self._running:
            self._running = True
            self._loop.call_later(self._step_seconds, self._step)

    def remove(self, one: Pinged) -> None:
        """Lets a connection go. Idempotent."""
        if one.place is not None:
            del self._ring[one.place][one]
            one.place = None
            one.asked = b""
            self._count -= 1

    def _step(self) -> None:
        now = time.monotonic()  # uvloop's own clock stands still during a turn
        self._look(self._graced, now, final=True)
        self._look(self._asked, now, final=self.timeout_seconds is None)
        self._in_turns(self._ping_some, list(self._ring[self._at]))
        self._at = (self._at + 1) % len(self._ring)
        self._running = bool(self._count or self._asked or self._graced)
        if self._running:
            self._loop.call_later(self._step_seconds, self._step)

    def _in_turns(self, do: Callable[[list[_T]], None], todo: list[_T]) -> None:
        do(todo[:AT_ONCE])
        if len(todo) > AT_ONCE:
            self._loop.call_soon(self._in_turns, do, todo[AT_ONCE:])

    def _ping_some(self, due: list[Pinged]) -> None:
        due = [one for one in due if not one.asked and one.place is not None]
        if not due:
            return
        payload, now = os.urandom(_PAYLOAD_BYTES), time.monotonic()
        for one in due:
            one.asked, one.asked_at = payload, now
            one.ping(payload)
        asked = [one for one in due if one.asked]  # event streams have no pong
        if self.timeout_seconds is not None and asked:
            self._asked.append((now + self.timeout_seconds, payload, asked))

    def _look(self, asked: deque[tuple[float, bytes, list[Pinged]]], now: float, *, final: bool) -> None:
        """Looks at those whose time is up: a pong that cannot come has more of it, another one a moment of grace."""
        missed: list[tuple[Pinged, bytes]] = []
        while asked and asked[0][0] <= now:
            _, payload, connections = asked.popleft()
            held: list[Pinged] = []
            over: list[Pinged] = []
            for one in connections:
                if one.asked == payload:
                    (held if one.waits_for_peer() else over).append(one)
            if held:
                self._asked.append((now + (self.timeout_seconds or 0.0), payload, held))
            if over and not final:
                self._graced.append((now + PONG_GRACE_SECONDS, payload, over))
            if final:
                missed += [(one, payload) for one in over]
        self._in_turns(self._end_some, missed)

    def _end_some(self, missed: list[tuple[Pinged, bytes]]) -> None:
        at = time.monotonic() + (self.timeout_seconds or 0.0)
        for one, payload in missed:
            if one.asked == payload and one.no_pong():
                self._asked.append((at, payload, [one]))
