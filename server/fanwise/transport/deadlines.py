"""Deadlines of an HTTP connection: how long its peer may keep it waiting for a head, a body, or room for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .limits import Limits

BODY_BYTES: Final = 1_024  # so much of a body has to come in `body_seconds`, again and again: a modem's pace
STALL_SECONDS: Final = 10.0  # for which a peer may take nothing of an answer
CLOSE_SECONDS: Final = 5.0  # for which a peer may take nothing of what is buffered when the connection is closed


class Deadlines:
    """Owns the invariant that whenever a connection waits for its peer, a timer runs that ends the wait.

    Args:
        loop: Whose timers they are.
        transport: The connection's.
        limits: How long a peer may take for a head, and for each part of a body.
        late: Called when a head or a body does not come in time.
    """

    __slots__ = ("_body_bytes", "_buffered_bytes", "_late", "_limits", "_loop", "_reading", "_transport", "_writing")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        *,
        late: Callable[[], None],
        limits: Limits,
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._late = late
        self._limits = limits
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._body_bytes = 0  # since the timer was set
        self._buffered_bytes = 0  # when the timer was set

    def expect_head(self) -> None:
        """Gives the peer time for the head of a request, unless that has begun already."""
        if self._reading is None:
            self._reading = self._loop.call_later(self._limits.head_seconds, self._late)

    def expect_body(self) -> None:
        """Gives the peer time for the next part of a body."""
        self.expect_nothing()
        self._body_bytes = 0
        self._reading = self._loop.call_later(self._limits.body_seconds, self._look_at_body)

    def body_came(self, size: int) -> None:
        """Counts `size` bytes of a body."""
        self._body_bytes += size

    def expect_nothing(self) -> None:
        """Stops the clock for what the peer sends."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def expect_progress(self) -> None:
        """Gives the peer time to take some of what is buffered."""
        if self._writing is None:
            self._buffered_bytes = self._transport.get_write_buffer_size()
            self._writing = self._loop.call_later(STALL_SECONDS, self._look_at_buffer)

    def flushed(self) -> None:
        """Stops the clock for what is buffered."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def expect_end(self) -> None:
        """Gives a closed connection time to be flushed, while its peer takes some of it, and aborts it then."""
        self.expect_nothing()
        self.flushed()
        self._buffered_bytes = self._transport.get_write_buffer_size()
        self._writing = self._loop.call_later(CLOSE_SECONDS, self._look_at_end)

    def stop(self) -> None:
        """Stops all clocks for good: the connection is gone, or another protocol's."""
        self.expect_nothing()
        self.flushed()
        self._late = _nothing  # it leads back to the protocol: freed at once, not by the collector

    def _look_at_body(self) -> None:
        if self._transport.is_reading() and self._body_bytes < BODY_BYTES:  # while nobody reads, nothing can come
            self._late()
        else:
            self.expect_body()

    def _look_at_buffer(self) -> None:
        self._writing = None
        if 0 < self._buffered_bytes <= self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self.expect_progress()

    def _look_at_end(self) -> None:
        if 0 < self._transport.get_write_buffer_size() < self._buffered_bytes:
            self.expect_end()
        else:
            self._transport.abort()


def _nothing() -> None:
    """Nobody has to hear any more."""
