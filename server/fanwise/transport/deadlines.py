"""Deadlines of an HTTP connection: how long its peer may keep it waiting for a head, a body, or room for an answer.

They only time. The protocol class ends the connection (`http_protocol`, `_late`: 408, or a close).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .limits import Limits
from .sockets import acknowledged_bytes

# The least of a body in `body_seconds`, and of an answer in `STALL_SECONDS`: a modem's pace.
BODY_BYTES: Final = 1_024
# The longest time in which a peer takes nothing of an answer. A kernel with a buffer of 128 KiB makes room in steps of
# 64 KiB: a reader of 3.3 kB/s takes 20 s over one.
STALL_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 2.5  # between two looks at what a peer takes: one that takes nothing ends that much later at most
CLOSE_SECONDS: Final = 5.0  # the longest time without progress after the connection is closed


class Deadlines:
    """Owns the invariant: while a connection waits for its peer, a timer runs that ends the wait.

    Args:
        loop: Whose timers they are.
        transport: The connection's.
        limits: How long a peer may take for a head, and for each part of a body.
        late: Called when a head or a body does not come in time.
    """

    __slots__ = (
        "_aborting",
        "_acknowledged_bytes",
        "_body_bytes",
        "_buffered_bytes",
        "_late",
        "_limits",
        "_loop",
        "_progressed_at",
        "_reading",
        "_transport",
        "_writing",
    )

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
        self._buffered_bytes = 0  # when the peer was last seen to take something
        self._acknowledged_bytes = 0  # by the peer's kernel, at that time
        self._progressed_at = 0.0  # when the peer was last seen to take something, in the loop's seconds
        self._aborting: asyncio.TimerHandle | None = None

    def expect_head(self, *, waited_seconds: float = 0.0) -> None:
        """Gives the peer time for the head of a request, unless that has begun already; it has waited for some."""
        if self._reading is None:
            seconds = max(0.0, self._limits.head_seconds - waited_seconds)
            self._reading = self._loop.call_later(seconds, self._late)

    def expect_body(self) -> None:
        """Gives the peer time for the next part of a body."""
        self.expect_nothing()
        self._body_bytes = 0
        self._reading = self._loop.call_later(self._limits.body_seconds, self._look_at_body)

    def expect_rest(self) -> None:
        """Gives the peer time, once, for the rest of a body whose request was answered."""
        self.expect_nothing()
        self._reading = self._loop.call_later(self._limits.body_seconds, self._late)

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
        if self._writing is None and self._late is not _nothing:  # stopped
            self._note_progress()
            self._writing = self._loop.call_later(LOOK_SECONDS, self._look_at_buffer)

    def flushed(self) -> None:
        """Stops the clock for what is buffered."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def expect_end(self) -> None:
        """Gives a closed connection time to be flushed, anew while its peer takes some of it, and then aborts it."""
        if self._late is _nothing:  # stopped
            return
        self.expect_nothing()
        self.flushed()
        self._note_progress()
        self._writing = self._loop.call_later(CLOSE_SECONDS, self._look_at_end)

    def abort_after(self, seconds: float) -> None:
        """Aborts the connection after `seconds`, whatever its peer still takes. The first call counts."""
        if self._aborting is None:
            self._aborting = self._loop.call_later(seconds, self._transport.abort)

    def stop(self) -> None:
        """Stops all clocks for good: the connection is gone, or another protocol's."""
        self.expect_nothing()
        self.flushed()
        if self._aborting is not None:
            self._aborting.cancel()
        self._late = _nothing  # it leads back to the protocol: freed at once, not by the collector

    def _look_at_body(self) -> None:
        if self._transport.is_reading() and self._body_bytes < BODY_BYTES:  # while reading is paused, nothing can come
            self._late()
        else:
            self.expect_body()

    def _look_at_buffer(self) -> None:
        if self._progressed() or not self._buffered_bytes:
            self._note_progress()
        elif self._loop.time() - self._progressed_at >= STALL_SECONDS:
            self._transport.abort()
            return
        self._writing = self._loop.call_later(LOOK_SECONDS, self._look_at_buffer)

    def _look_at_end(self) -> None:
        if self._transport.get_write_buffer_size() and self._progressed():
            self.expect_end()
        else:
            self._transport.abort()

    def _note_progress(self) -> None:
        self._progressed_at = self._loop.time()
        self._buffered_bytes = self._transport.get_write_buffer_size()
        if self._buffered_bytes:
            self._acknowledged_bytes = acknowledged_bytes(self._transport.get_extra_info("socket"))

    def _progressed(self) -> bool:
        """Whether the peer has taken something: the buffer has shrunk, or its kernel has acknowledged more.

        The buffer of a slow reader shrinks in steps of what its kernel takes at once, which may be far apart.
        """
        acknowledged = acknowledged_bytes(self._transport.get_extra_info("socket")) - self._acknowledged_bytes
        return self._transport.get_write_buffer_size() < self._buffered_bytes or acknowledged >= BODY_BYTES


def _nothing() -> None:
    """Takes the place of a callback into a protocol that has ended."""
