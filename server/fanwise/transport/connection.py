"""The connection of our protocol class, as the application holds it: sweeps may write to its socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from websockets.frames import Frame, Opcode

from ..broadcaster.sink import Message, SinkOwner
from ..core.lease import Lease
from ..core.reasons import CloseReason
from .inbox import Inbox
from .leased_transport import LeasedTransport
from .sockets import ask_every, kernel_bytes, unanswered_packets, unanswered_seconds


class SocketProtocol(Protocol):
    """The protocol class, as a connection calls it."""

    transport: LeasedTransport

    @property
    def received_bytes(self) -> int:
        """Bytes that have come and were not read yet."""

    def listen(self) -> Inbox:
        """An inbox for all messages that the application has not read."""

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Sends a close frame behind what is buffered, without waiting."""


class SocketConnection:
    """A `sink.Connection` over the transport of a protocol. Owns what is known of the transport's buffer."""

    __slots__ = ("_owner", "_paused", "_protocol", "lease", "taken")

    def __init__(self, protocol: SocketProtocol | None, lease: Lease) -> None:
        self._protocol = protocol  # None when nothing can be written any more
        self._owner: SinkOwner | None = None
        self._paused = False
        self.lease = lease
        self.taken = 0

    @property
    def writable(self) -> bool:
        """Whether the transport is open and empty."""
        protocol = self._protocol
        return protocol is not None and not self._paused and not protocol.transport.get_write_buffer_size()

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the transport holds."""
        return self._protocol.transport.get_write_buffer_size() if self._protocol is not None else 0

    def unanswered_seconds(self) -> float:
        """For how long the peer has acknowledged nothing of what the kernel has sent; 0 if nothing waits for that."""
        sock = None if self._protocol is None else self._protocol.transport.get_extra_info("socket")
        return 0.0 if sock is None else unanswered_seconds(sock)

    def unanswered_packets(self) -> int | None:
        """Returns how many packets in a row the peer's kernel has not answered; None if unknown."""
        sock = None if self._protocol is None else self._protocol.transport.get_extra_info("socket")
        return None if sock is None else unanswered_packets(sock)

    def ask_every(self, seconds: float) -> None:
        """Has the kernel ask so often, at least, for the window of a peer that takes nothing."""
        sock = None if self._protocol is None else self._protocol.transport.get_extra_info("socket")
        if sock is not None:
            ask_every(sock, seconds)

    def kernel_bytes(self) -> int:
        """Bytes that the kernel holds for the peer; -1: unknown."""
        sock = None if self._protocol is None else self._protocol.transport.get_extra_info("socket")
        return -1 if sock is None else kernel_bytes(sock)

    def attach(self, owner: SinkOwner) -> None:
        """Notifies `owner` of the connection's events."""
        if self._protocol is None:
            owner.sink_closed(CloseReason.LOST)
        else:
            self._owner = owner

    def listen(self) -> Inbox:
        """Takes over the peer's messages, with the unread ones that are here."""
        if self._protocol is not None:
            return self._protocol.listen()
        inbox = Inbox(pause=_nothing, resume=_nothing)
        inbox.end()
        return inbox

    def write(self, data: bytes | memoryview) -> None:
        """Gives `data` to the transport, unless the connection is closing."""
        if self._protocol is not None:
            self._protocol.transport.write(data)

    async def send(self, messages: Sequence[Message]) -> None:
        """Writes each message as one frame."""
        opcodes = {False: Opcode.TEXT, True: Opcode.BINARY}
        self.taken += len(messages)
        self.write(b"".join([Frame(opcodes[binary], data).serialize(mask=False) for data, binary in messages]))

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Sends the close frame; the connection is aborted when the peer's answer takes too long."""
        if self._protocol is not None:
            self._protocol.start_close(reason, text, within_seconds=within_seconds)

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._protocol is not None:
            self._protocol.transport.abort()

    @property
    def received_bytes(self) -> int:
        """Bytes of unfinished frames and messages, and of messages that are not read yet. O(1)."""
        return self._protocol.received_bytes if self._protocol is not None else 0

    # Called by the protocol.

    def paused(self) -> None:
        """The transport has buffered something."""
        self._paused = True
        if self._owner is not None:
            self._owner.sink_paused()

    def resumed(self) -> None:
        """The transport is empty again."""
        self._paused = False
        if self._owner is not None:
            self._owner.sink_resumed()

    def ended(self, reason: CloseReason) -> None:
        """Nothing may be written any more. Idempotent.

        The connection forgets both sides: each holds the connection, and cycles wait for the garbage collector.
        """
        if self._protocol is not None:
            self._protocol = None
            owner, self._owner = self._owner, None
            if owner is not None:
                owner.sink_closed(reason)


def _nothing() -> None:
    """Takes the place of a brake: an inbox without a connection has no peer to pause."""


def ended(_scope: object, _farewell: object) -> SocketConnection:
    """Returns the connection over a response whose transport has ended: closed."""
    return SocketConnection(None, Lease(None))
