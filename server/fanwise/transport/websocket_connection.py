"""A WebSocket from its handshake on: what it is sent, what comes in, and its closing handshake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from websockets.frames import Close, Frame, Opcode

from ..broadcaster.sink import Message, SinkOwner
from ..core.publication import Kind
from ..core.reasons import CloseReason, failure
from .deflate import InflatingIncoming
from .incoming import HELD_BYTES, Incoming
from .intake import Intake
from .limits import Budget
from .socket_sink import SocketSink
from .sockets import Descriptor
from .surroundings import Surroundings

FLOOD_CLOSE_SECONDS: Final = (
    0.5  # for which a peer that sent more is still read from, so that the close frame reaches it
)
_PING: Final = 0x89
_ASKED_PER_TIMEOUT: Final = 4  # so that two questions in a row stay without an answer until the next look
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


class WebSocketConnection(SocketSink):
    """Owns the invariant that nothing is written after its close frame, and its owner hears of its end once.

    Args:
        around: What it shares with others.
        transport: Of which the handshake has been answered with 101.
        receiver: Who takes its messages; None: it is set before the next turn.
        owner: Who hears of its events until a client is attached; None: nobody.
        deflates: Whether the handshake has agreed on permessage-deflate.
        sock: Its socket, without TLS; None: the transport is asked.

    Attributes:
        make_receiver: Makes the receiver at the first message, of the connection and its owner: most clients send none.
            None: the receiver is here.
    """

    __slots__ = (
        "_close_code",
        "_incoming",
        "_peer_closed",
        "_unsent_bytes",
        "close_sent",
        "deflates",
        "held",
        "make_receiver",
        "receiver",
    )

    def __init__(
        self,
        around: Surroundings,
        transport: asyncio.Transport,
        receiver: Receiver | None = None,
        owner: SinkOwner | None = None,
        *,
        deflates: bool = False,
        sock: Descriptor | None = None,
    ) -> None:
        self.deflates = deflates
        self.receiver: Receiver = receiver or _NOBODY
        self.make_receiver: Callable[[WebSocketConnection, Any], Receiver] | None = None
        self.close_sent = False  # whether nothing may be written any more
        self._close_code: int | None = None  # of the close frame that was sent
        self._peer_closed = False  # whether a close frame has come
        self._incoming: Incoming | None = None  # while there is something to remember of what has come
        self._unsent_bytes = 0  # when a pong was looked for last
        self.held = False  # whether the owner counts what was received
        SocketSink.__init__(self, around, transport, owner, sock)

    # The transport's events.

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves the ready groups now: the descriptor is closed, and may be reused, right after this call."""
        super().connection_lost(exc)
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.stop()

    def _left(self, reason: CloseReason) -> None:
        super()._left(reason)
        self.receiver.end()

    def data_received(self, data: bytes) -> None:
        """Takes in frames."""
        incoming = self._incoming
        (self.incoming if incoming is None else incoming).feed(data)

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

    async def send(self, messages: Sequence[Message]) -> None:
        """Writes each message as one frame."""
        self.taken += len(messages)
        self.write(b"".join([frame_of(payload, binary=binary) for payload, binary in messages]))

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

    def no_pong(self) -> bool:
        """Closes the connection, whose peer was asked and has not answered, or returns True.

        The connection stays while the peer's kernel answers, if its owner forgives that. The peer is asked again by a
        ping behind those that are acknowledged, else by its kernel.
        """
        if not self._is_forgiven():
            self.start_close(CloseReason.NO_PONG, CloseReason.NO_PONG.text, within_seconds=0)
            return False
        if self.kernel_bytes() <= 0:
            self.ping(self.asked)
        return True

    def _is_forgiven(self) -> bool:
        timeout, owner = self._around.keep_alive.timeout_seconds, self._owner
        if timeout is None or owner is None or not owner.sink_unanswered(time.monotonic() - self.asked_at):
            return False
        self.ask_every(timeout / _ASKED_PER_TIMEOUT)
        return self.is_answering(timeout)

    # Called for what comes in.

    @property
    def incoming(self) -> Incoming:
        """What is remembered of what comes in."""
        if self._incoming is None:
            around = self._around
            kind = InflatingIncoming if self.deflates else Incoming
            self._incoming = kind(self, around.loop, around.limits, max_bytes=around.max_bytes)
        return self._incoming

    @property
    def budget(self) -> Budget:
        """The budget of the connection."""
        return self.incoming.budget

    def deliver(self, kind: Kind, payload: bytes) -> None:
        """Hands a message on, unless the connection is closing."""
        if not self.close_sent:
            if self.make_receiver is not None:
                self._begin_to_receive(self.make_receiver)
            self.receiver.put(kind, payload)

    @property
    def takes_texts(self) -> bool:
        """Whether texts that come together may be delivered together."""
        return isinstance(self.receiver, Intake) and self.receiver.takes_texts

    def deliver_texts(self, texts: list[bytes]) -> bool:
        """Hands texts on together, if `takes_texts`; returns False if they have to be delivered one by one."""
        return isinstance(self.receiver, Intake) and not self.close_sent and self.receiver.put_texts(texts)

    def _begin_to_receive(self, make_receiver: Callable[[WebSocketConnection, Any], Receiver]) -> None:
        self.make_receiver = None
        if self._owner is not None:  # else the client has ended
            self.receiver = make_receiver(self, self._owner)

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
