"""A WebSocket from its handshake on: the event loop's protocol, and the sink of its client.

Writing to a socket beside its transport is safe under two invariants. First, a client is in a ready group exactly while
its transport is open and empty: with a high-water mark of 0, any buffered byte calls `pause_writing` at once. Second, a
client in a ready group has a lease of its descriptor, which ends before the transport is taken away or closed. No group
ever holds a number that may have been given to another connection.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from websockets.extensions import Extension
from websockets.frames import Close, Frame, Opcode

from ..broadcaster.sink import Message, SinkOwner
from ..core.publication import Kind
from ..core.reasons import CloseReason, failure
from .incoming import Incoming
from .leased_transport import LeasedTransport
from .limits import Budget
from .sockets import lost_reason, unanswered_seconds
from .surroundings import Surroundings

CLOSE_SECONDS: Final = 5.0  # for a closing handshake; a peer on a bad line answers in a few round trips
FLOOD_CLOSE_SECONDS: Final = (
    0.5  # for which a peer that sent more is still read from, so that the close frame reaches it
)
HELD_BYTES: Final = 65_536  # of one connection; what is less is not counted against `memory_bytes`
_PING: Final = 0x89
_ABNORMAL: Final = 1005  # no close frame has come (RFC 6455 section 7.1.5)


class Receiver(Protocol):
    """Who takes a connection's messages, in their order. It pauses the connection's reading if it has too many."""

    @property
    def size_bytes(self) -> int:
        """Bytes of messages that have come and were not worked on. O(1)."""

    def put(self, kind: Kind, data: bytes) -> None:
        """Takes a message, TEXT (UTF-8) or BINARY."""

    def end(self, code: int = _ABNORMAL, reason: str = "") -> None:
        """Hears that no other message comes, and the code and reason of the close. Idempotent."""


class WebSocketConnection(asyncio.Protocol):
    """Owns the invariant that nothing is written after its close frame, and its owner hears of its end once.

    Args:
        around: What it shares with others.
        transport: Of which the handshake has been answered with 101.
        receiver: Who takes its messages; None: it is set before the next turn.
        owner: Who hears of its events until a client is attached; None: nobody.
        extensions: Those that the handshake has agreed on.
    """

    __slots__ = (
        "__weakref__",
        "_abort_at",
        "_abort_timer",
        "_around",
        "_close_code",
        "_close_seconds",
        "_extensions",
        "_incoming",
        "_open",
        "_owner",
        "_paused",
        "_peer_closed",
        "_unsent_bytes",
        "asked",
        "asked_at",
        "close_sent",
        "held",
        "owned",
        "place",
        "receiver",
        "taken",
        "transport",
    )

    def __init__(
        self,
        around: Surroundings,
        transport: asyncio.Transport,
        receiver: Receiver | None = None,
        owner: SinkOwner | None = None,
        *,
        extensions: Sequence[Extension] = (),
    ) -> None:
        self._around = around
        self._extensions = extensions
        self.receiver: Receiver = receiver or _NOBODY
        self._owner = owner
        self.owned = False  # whether a client is attached, and audits judge it
        self._paused = False
        self._open = True  # whether publications may be written
        self.close_sent = False  # whether nothing may be written any more
        self._close_code: int | None = None  # of the close frame that was sent
        self._close_seconds = CLOSE_SECONDS
        self._peer_closed = False  # whether a close frame has come
        self._abort_at = math.inf
        self._abort_timer: asyncio.TimerHandle | None = None
        self._incoming: Incoming | None = None  # while there is something to remember of what has come
        self._unsent_bytes = 0  # when a pong was looked for last
        self.place: int | None = None
        self.asked = b""
        self.asked_at = 0.0
        self.held = False  # whether the owner counts what was received
        self.taken = 0
        self.transport = LeasedTransport(transport, on_end=self._lease_ended, debug=around.loop.get_debug())
        self.transport.report_every_byte()
        around.connections.add(self)
        around.keep_alive.add(self)

    # The transport's events.

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves the ready groups now: the descriptor is closed, and may be reused, right after this call."""
        self._end(lost_reason(exc) or self._reason())
        self.transport.lease.end()
        self._around.connections.discard(self)
        self._around.keep_alive.remove(self)
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.stop()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._owner = None
        self.receiver.end()

    def eof_received(self) -> None:
        """The peer will send no more: the transport closes itself."""
        self.transport.lease.end()

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

    def data_received(self, data: bytes) -> None:
        """Takes in frames."""
        self.incoming.feed(data)

    def _lease_ended(self) -> None:
        """Leaves the ready groups: the transport closes, or is another protocol's."""
        self._closing(self._reason())

    def shutdown(self) -> None:
        """The server stops: closing must come to its end before uvicorn's patience does, and the loop is closed."""
        if self._around.graceful_seconds is not None:
            self._close_seconds = min(self._close_seconds, self._around.graceful_seconds / 2)
        if not (self.close_sent or self._peer_closed):
            self._send_close(CloseReason.SHUTDOWN.code, "")
            self.receiver.end(CloseReason.SHUTDOWN.code)
        self._closing(CloseReason.SHUTDOWN)
        self.transport.close()

    # The sink.

    @property
    def lease(self) -> Any:
        """The right to write to the socket beside the transport."""
        return self.transport.lease

    @property
    def open(self) -> bool:
        """Whether publications may be written."""
        return self._open

    @property
    def writable(self) -> bool:
        """Whether the connection is open and nothing is buffered."""
        return self._open and not self._paused and not self.transport.get_write_buffer_size()

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the transport holds."""
        return self.transport.get_write_buffer_size() if self._open else 0

    def unanswered_seconds(self) -> float:
        """For how long the peer has acknowledged nothing of what the kernel has sent; 0 if nothing waits for that."""
        sock = self.transport.get_extra_info("socket") if self._open else None
        return 0.0 if sock is None else unanswered_seconds(sock)

    def attach(self, owner: SinkOwner) -> None:
        """Notifies `owner` of the connection's events."""
        self.owned = True
        if self._open:
            self._owner = owner
        else:
            owner.sink_closed(CloseReason.LOST)

    def write(self, data: bytes | memoryview) -> None:
        """Gives `data` to the transport, unless the connection is closing."""
        if self._open:
            self.transport.write(data)

    async def send(self, messages: Sequence[Message]) -> None:
        """Writes each message as one frame."""
        self.taken += len(messages)
        self.write(b"".join([frame_of(payload, binary=binary) for payload, binary in messages]))

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Sends the close frame; the connection is aborted when the peer's answer takes too long."""
        self.start_close(reason, text, within_seconds=within_seconds)

    def abort(self) -> None:
        """Ends the connection at once."""
        self.transport.abort()

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Sends a close frame behind what is buffered, without waiting for that or for the peer's answer."""
        self.close_with(reason.code, text, reason, within_seconds=within_seconds)

    def close_with(self, code: int, text: str, reason: CloseReason, *, within_seconds: float) -> None:
        """Starts the closing handshake with a code of the application's choice; its end is counted under `reason`."""
        self._close_seconds = min(self._close_seconds, within_seconds)
        if not (self.close_sent or self._peer_closed or self.transport.is_closing()):
            self._send_close(code, text)
            self.transport.resume_reading()  # whatever the peer still sends is dropped, up to its answer
        self._closing(reason)

    @property
    def received_bytes(self) -> int:
        """Bytes of unfinished frames and messages, and of unread messages, with what an object takes. O(1)."""
        unfinished = 0 if self._incoming is None else self._incoming.unfinished_bytes
        return unfinished + self.receiver.size_bytes

    # Keep-alive.

    def ping(self, payload: bytes) -> None:
        """Asks for a sign of life."""
        self._unsent_bytes = 0
        if not self.close_sent:
            self.transport.write(bytes((_PING, len(payload))) + payload)

    def waits_for_peer(self) -> bool:
        """Whether a pong could not come. Ends a connection that nobody judges, if its peer takes nothing.

        While data waits in front of the ping, audits judge clients, and this method only connections without one.
        """
        before, self._unsent_bytes = self._unsent_bytes, self.transport.get_write_buffer_size()
        if 0 < before <= self._unsent_bytes and not self.owned:
            self.transport.abort()
        return bool(self._unsent_bytes) or not self.transport.is_reading()

    def no_pong(self) -> None:
        """Closes the connection: its peer was asked, and has not answered."""
        self.start_close(CloseReason.NO_PONG, CloseReason.NO_PONG.text, within_seconds=0)

    # Called for what comes in.

    @property
    def incoming(self) -> Incoming:
        """What is remembered of what comes in."""
        if self._incoming is None:
            around = self._around
            self._incoming = Incoming(
                self, around.loop, around.limits, max_bytes=around.max_bytes, extensions=self._extensions
            )
        return self._incoming

    @property
    def budget(self) -> Budget:
        """The budget of the connection."""
        return self.incoming.budget

    def deliver(self, kind: Kind, payload: bytes) -> None:
        """Hands a message on, unless the connection is closing."""
        if not self.close_sent:
            self.receiver.put(kind, payload)

    def receiving(self) -> None:
        """Notifies the owner when more than `HELD_BYTES` were received and are not read, and when it is less again."""
        held = self.received_bytes > HELD_BYTES
        if held is not self.held and self._owner is not None:
            self.held = held
            self._owner.sink_receiving(held=held)

    def ponged(self, payload: bytes) -> None:
        """Hears of a pong, perhaps to the ping that was sent last."""
        if payload == self.asked and payload:
            self.asked = b""
            if self._owner is not None:
                self._owner.sink_ponged(time.monotonic() - self.asked_at)

    def close_came(self, payload: bytes) -> None:
        """Hears of a close frame: answers it, if it is not an answer itself, and closes the transport."""
        self._peer_closed = True
        if not self.close_sent and not self.transport.is_closing():
            close = Close.parse(payload)
            self.transport.write(Frame(Opcode.CLOSE, payload).serialize(mask=False))
            self.close_sent = True
            self._close_code = close.code
            self.receiver.end(close.code, close.reason)
        self._around.keep_alive.remove(self)
        self.transport.close()

    def drop(self, reason: CloseReason, text: str) -> None:
        """Closes the connection of a peer that sends too much, or what is wrong."""
        self.receiver.end(reason.code, text)
        self.start_close(reason, text, within_seconds=FLOOD_CLOSE_SECONDS)

    def fail(self, code: int, text: str) -> None:
        """Fails the connection (RFC 6455 section 7.1.7)."""
        if not (self.close_sent or self.transport.is_closing()):
            self.receiver.end(code, text)
            self.close_with(code, text, failure(code), within_seconds=FLOOD_CLOSE_SECONDS)

    # The end.

    def _send_close(self, code: int, text: str) -> None:
        self._around.keep_alive.remove(self)
        self.transport.write(Frame(Opcode.CLOSE, Close(code, text).serialize()).serialize(mask=False))
        self.close_sent = True
        self._close_code = code

    def _reason(self) -> CloseReason:
        """Returns why the connection ends, as far as the closing handshake shows."""
        if self._peer_closed or self._close_code == CloseReason.NORMAL.code:
            return CloseReason.NORMAL
        return failure(self._close_code)

    def _closing(self, reason: CloseReason) -> None:
        """Closing waits for the buffer to be flushed and for the peer's answer, which may never come: then abort."""
        self._end(reason)
        end = self._around.loop.time() + self._close_seconds
        if self._abort_at <= end or self not in self._around.connections:
            return
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._abort_at = end
        self._abort_timer = self._around.loop.call_at(end, self.transport.abort)

    def _end(self, reason: CloseReason) -> None:
        """Nothing may be written any more, but a close frame. Idempotent."""
        if self._open:
            self._open = False
            owner, self._owner = self._owner, None  # each holds the other: cycles would wait for the garbage collector
            if owner is not None:
                owner.sink_closed(reason)


class _Nobody:
    """Takes messages of a connection that has ended before it was a client."""

    size_bytes = 0

    def put(self, kind: Kind, data: bytes) -> None:
        """Drops a message."""

    def end(self, code: int = _ABNORMAL, reason: str = "") -> None:
        """Nobody is told."""


_NOBODY: Final = _Nobody()


def frame_of(payload: bytes, *, binary: bool) -> bytes:
    """Returns a message as one frame of a server (RFC 6455 section 5.2)."""
    return Frame(Opcode.BINARY if binary else Opcode.TEXT, payload).serialize(mask=False)
