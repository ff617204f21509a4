"""A connection's protocol and the sink of its client, in one object: what WebSockets and event streams have in common.

Writing to a socket beside its transport is safe under two invariants. First, a client is in a ready group exactly while
its transport is open and empty: with a high-water mark of 0, any buffered byte calls `pause_writing` at once. Second, a
client in a ready group has a lease of its descriptor, which ends before the transport is taken away or closed. No group
ever holds a number that may have been given to another connection.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any, Final

from ..broadcaster.sink import SinkOwner
from ..core.reasons import CloseReason
from .fair_share import fair_share
from .leased_transport import LeasedTransport
from .sockets import (
    Descriptor,
    ask_every,
    is_answering,
    kernel_bytes,
    lost_reason,
    unanswered_packets,
    unanswered_seconds,
)
from .surroundings import Surroundings

CLOSE_SECONDS: Final = 5.0  # for the end of a connection; a peer on a bad line answers in a few round trips

LEAVE_FRAMES: Final = 16  # of a turn, for the end of a connection
LOST_FRAMES: Final = 6  # of a turn, for what is left to do when the event loop has ended it
_NEVER: Final = -math.inf  # a connection that is lost needs no abort


class SocketSink(asyncio.Protocol):
    """Owns the invariants: the owner hears of the end once, and a connection that is closing ends in time.

    Args:
        around: What the connection shares with others.
        transport: The connection's. Its protocol so far writes nothing any more.
        owner: Notified of events until a client is attached; None: nobody is.
        sock: Its socket, without TLS; None: the transport is asked.

    Attributes:
        open: Whether publications may be written.
        owned: Whether a client is attached, and audits judge it.
        taken: Messages that `send` was given.
        place: Where in the round of keep-alive the connection has its turn; None: nowhere.
        asked: The payload of a ping without an answer; empty while there is none.
        asked_at: When that was sent, on the monotonic clock.
    """

    __slots__ = (
        "__weakref__",
        "_abort_at",
        "_abort_timer",
        "_around",
        "_close_seconds",
        "_owner",
        "_paused",
        "asked",
        "asked_at",
        "open",
        "owned",
        "place",
        "taken",
        "transport",
    )

    def __init__(
        self,
        around: Surroundings,
        transport: asyncio.Transport,
        owner: SinkOwner | None = None,
        sock: Descriptor | None = None,
    ) -> None:
        self._around = around
        self._owner = owner
        self.owned = False
        self._paused = False
        self.open = True
        self._close_seconds = CLOSE_SECONDS
        self._abort_at = math.inf
        self._abort_timer: asyncio.TimerHandle | None = None
        self.place: int | None = None
        self.asked = b""
        self.asked_at = 0.0
        self.taken = 0
        self.transport = LeasedTransport(transport, self._lease_ended, around.loop.get_debug(), sock)
        self.transport.report_every_byte()
        around.connections.add(self)
        around.keep_alive.add(self)

    # The transport's events.

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves the ready groups now: the descriptor is closed, and may be reused, right after this call.

        All else follows in the connection's turn, as thousands may be lost at once.
        """
        at_once = not self.open or fair_share(self._around.loop).take(LOST_FRAMES)
        self.open = False
        self._abort_at = _NEVER
        if self._owner is not None:
            self._owner.sink_paused()
        self.transport.lost()
        leave = partial(self._left, lost_reason(exc) or self._reason())
        if at_once:
            leave()
        else:
            fair_share(self._around.loop).wait(leave, frames=LOST_FRAMES)

    def _left(self, reason: CloseReason) -> None:
        """Lets a lost connection go: its owner hears of the end, and the books forget it."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.sink_closed(reason)
        self._around.connections.discard(self)
        self._around.keep_alive.remove(self)
        if self._abort_timer is not None:
            self._abort_timer.cancel()

    def eof_received(self) -> bool:
        """The peer will send no more: the connection closes in its turn, as thousands may leave at once.

        Returns False with TLS, where the event loop closes the transport whatever is returned.
        """
        if self.transport.get_extra_info("sslcontext") is not None:
            self.transport.lease.end()
            return False
        fair_share(self._around.loop).wait(self.transport.close, frames=LEAVE_FRAMES)
        return True

    def pause_writing(self) -> None:
        """The transport has buffered something."""
        self._paused = True
        if self._owner is not None:
            self._owner.sink_paused()

    def resume_writing(self) -> None:
        """The transport is empty."""
        self._paused = False
        if self._owner is not None:
            self._owner.sink_resumed()

    def _lease_ended(self) -> None:
        """Leaves the ready groups: the transport closes, or is another protocol's."""
        if self._abort_at > _NEVER:
            self._closing(self._reason())

    # The sink.

    @property
    def lease(self) -> Any:
        """The right to write to the socket beside the transport."""
        return self.transport.lease

    @property
    def writable(self) -> bool:
        """Whether the connection is open and nothing is buffered."""
        return self.open and not self._paused and not self.transport.get_write_buffer_size()

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the transport holds."""
        return self.transport.get_write_buffer_size() if self.open else 0

    def unanswered_seconds(self) -> float:
        """For how long the peer has acknowledged nothing of what the kernel has sent; 0 if nothing waits for that."""
        sock = self.transport.get_extra_info("socket") if self.open else None
        return 0.0 if sock is None else unanswered_seconds(sock)

    def unanswered_packets(self) -> int | None:
        """Returns how many packets in a row the peer's kernel has not answered; None if unknown."""
        sock = self.transport.get_extra_info("socket") if self.open else None
        return None if sock is None else unanswered_packets(sock)

    def is_answering(self, within_seconds: float) -> bool:
        """Returns whether the peer's kernel answers; while something is on its way: whether it has `within_seconds`."""
        sock = self.transport.get_extra_info("socket") if self.open else None
        return sock is not None and is_answering(sock, within_seconds=within_seconds)

    def ask_every(self, seconds: float) -> None:
        """Has the kernel ask so often, at least, for the window of a peer that takes nothing."""
        sock = self.transport.get_extra_info("socket") if self.open else None
        if sock is not None:
            ask_every(sock, seconds)

    def kernel_bytes(self) -> int:
        """Bytes that the kernel holds for the peer; -1: unknown."""
        sock = self.transport.get_extra_info("socket") if self.open else None
        return -1 if sock is None else kernel_bytes(sock)

    def attach(self, owner: SinkOwner) -> None:
        """Notifies `owner` of the connection's events."""
        self.owned = True
        if self.open:
            self._owner = owner
        else:
            owner.sink_closed(CloseReason.LOST)

    def write(self, data: bytes | memoryview) -> None:
        """Gives `data` to the transport, unless the connection is closing."""
        if self.open:
            self.transport.write(data)

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Starts to close, as `start_close` does; the connection is aborted when that takes too long."""
        self.start_close(reason, text, within_seconds=within_seconds)

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Sends the reason behind what is buffered, without waiting."""
        raise NotImplementedError

    def abort(self) -> None:
        """Ends the connection at once."""
        self.transport.abort()

    # Keep-alive.

    def ping(self, payload: bytes) -> None:
        """Asks for a sign of life."""
        raise NotImplementedError

    def waits_for_peer(self) -> bool:
        """Returns whether a pong could not come: always, where there are none."""
        return True

    def no_pong(self) -> bool:
        """Hears that no pong has come in time. Returns whether the connection stays."""
        return True

    # The end.

    def _reason(self) -> CloseReason:
        """Returns why the connection ends, as far as the peer has said."""
        return CloseReason.LOST

    def _closing(self, reason: CloseReason) -> None:
        """Closing waits for the buffer to be flushed and for the peer, perhaps for ever: then abort."""
        self._end(reason)
        end = self._around.loop.time() + self._close_seconds
        if self._abort_at <= end or self not in self._around.connections:
            return
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._abort_at = end
        self._abort_timer = self._around.loop.call_at(end, self.transport.abort)

    def _end(self, reason: CloseReason) -> None:
        """Nothing may be written any more, but what closes the connection. Idempotent."""
        if self.open:
            self.open = False
            owner, self._owner = self._owner, None  # each holds the other: cycles would wait for the garbage collector
            if owner is not None:
                owner.sink_closed(reason)
