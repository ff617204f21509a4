"""How a WebSocket connection is paced: when its reading pauses and goes on, and how long a message may take."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from .fair_share import fair_share
from .leased_transport import LeasedTransport
from .limits import Budget


class Pacer:
    """Owns the invariant that reading, once held, goes on by itself: after a pause, or in the connection's turn.

    Args:
        loop: Whose share and timers are used.
        transport: The connection's.
        budget: The connection's.
        go_on: Called when more may be parsed.
    """

    __slots__ = ("_budget", "_go_on", "_loop", "_pause", "_transport", "share")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: LeasedTransport, budget: Budget, go_on: Callable[[], Any]
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._budget = budget
        self._go_on = go_on
        self._pause: asyncio.TimerHandle | None = None
        self.share = fair_share(loop)

    def pace(self, *, control_frames: int, more: bool, unparsed_bytes: int = 0) -> bool:
        """Holds or releases reading after a read; returns False if the peer is a flood.

        Args:
            control_frames: How many came, with empty fragments.
            more: Whether frames wait that were not parsed.
            unparsed_bytes: Of a large read, of which nothing was parsed.
        """
        seconds = self._budget.pause_seconds(control_frames=control_frames)
        if seconds == math.inf:
            return False
        if seconds:
            self._transport.hold_reading()
            # Not at once: the pauses of a hundred connections may end in the same turn.
            self._pause = self._loop.call_later(seconds, self.share.wait, self._resume)
        elif more:
            self._transport.hold_reading()
            if unparsed_bytes:
                self.share.wait_with_read(self._resume, unparsed_bytes)
            else:
                self.share.wait(self._resume)
        else:
            self._transport.release_reading()
        return True

    def drain(self) -> None:
        """Has what comes read, for the caller to drop it, once in each of the connection's turns.

        libuv reads up to 32 times 256 KiB from a socket in one turn, unless reading is stopped.
        """
        self._transport.hold_reading()
        self.share.wait(self._release)

    def stop(self) -> None:
        """Ends the pacing for good, and forgets the protocol."""
        self._go_on = _nothing
        if self._pause is not None:
            self._pause.cancel()

    def _release(self) -> None:
        if not self._transport.is_closing():
            self._transport.release_reading()

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._go_on()


class MessageDeadline:
    """Owns the invariant that an unfinished message ends, or `late` is called, in `seconds`.

    One timer looks after all messages of a connection; messages that come whole set none.

    Args:
        loop: Whose timers are used.
        transport: The connection's. While its reading is paused, the peer is not late.
        seconds: From the first byte of a message to its last.
        late: Called once when a message takes longer.
    """

    __slots__ = ("_late", "_loop", "_seconds", "_timer", "_transport", "begun_at")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        *,
        seconds: float,
        late: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._seconds = seconds
        self._late = late
        self._timer: asyncio.TimerHandle | None = None
        self.begun_at = 0.0  # on the loop's clock; 0 while no message is unfinished

    def watch(self, *, unfinished: bool, finished: bool) -> None:
        """Notes whether a message is unfinished after a read, and whether the read has finished another one."""
        if not unfinished:
            self.begun_at = 0.0
        elif finished or not self.begun_at:
            self.begun_at = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        """Ends the wait for good, and forgets the protocol."""
        self._late = _nothing
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self.begun_at:
            now, end = self._loop.time(), self.begun_at + self._seconds
            if not self._transport.is_reading():
                end = now + self._seconds
            if now < end:
                self._timer = self._loop.call_at(end, self._look)
            else:
                self._late()


def _nothing() -> None:
    """Takes the place of a callback into a protocol that has ended."""
