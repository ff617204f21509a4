"""Small frames, which floods are made of: taken in without the WebSocket library, in a tenth of its time.

With a hundred connections that send nothing else, the library's time would let each parse no more than its rate: such
connections would never be found to be floods.
"""

from __future__ import annotations

from typing import Final, Protocol

from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]  # in C where it can be
from websockets.server import ServerProtocol

from .frames import EMPTY_FRAME_BYTES
from .leased_transport import LeasedTransport
from .limits import Budget

_PING: Final = 0x89
_PONG: Final = 0x8A
_FIRST_OF_TEXT: Final = 0x01
_FIRST_OF_BINARY: Final = 0x02
_CONTINUATION: Final = 0x00
_LAST: Final = 0x80
# Of all frames that `SmallFrames.take` may take in.
SMALL_HEADS: Final = frozenset((_PING, _PONG, _FIRST_OF_TEXT, _FIRST_OF_BINARY, _CONTINUATION, _LAST))
# As globals: CPython 3.11 makes a call of each attribute of an enum.
_CONT, _TEXT, _BINARY = Opcode.CONT, Opcode.TEXT, Opcode.BINARY
_MASKED: Final = 0x80
_SMALL_BYTES: Final = 125  # the largest payload whose length is in the frame's second byte
_BACKLOG_BYTES: Final = 131_072  # twice what a client that is behind may have waiting


class Receiver(Protocol):
    """What small frames need of the protocol class."""

    close_sent: bool
    conn: ServerProtocol
    pending_ping_payload: bytes | None

    def handle_text(self, event: Frame) -> None:
        """The first fragment of a text."""

    def handle_bytes(self, event: Frame) -> None:
        """The first fragment of a binary message."""

    def handle_cont(self, event: Frame) -> None:
        """The next fragment of a message."""


class SmallFrames:
    """Owns the invariant that pings are answered at the budget's rate, in one write for all pings of a read.

    A ping beyond the rate is answered if no other follows in the read (RFC 6455 section 5.5.3).

    Args:
        transport: The connection's. A peer that reads no pongs is sent no more.
        budget: The connection's.
        max_bytes: The largest message.
    """

    __slots__ = ("_budget", "_latest", "_max_bytes", "_pongs", "_transport")

    def __init__(self, transport: LeasedTransport, budget: Budget, *, max_bytes: int) -> None:
        self._transport = transport
        self._budget = budget
        self._max_bytes = max_bytes
        self._pongs: list[bytes] = []
        self._latest = b""  # the ping beyond the rate

    def take(self, frame: bytes, receiver: Receiver) -> bool:
        """Takes in a ping, a fragment, or a pong that nothing waits for; returns False for what is the library's.

        Args:
            frame: One whole frame, or the beginning of one that breaks a rule; its first byte is in `SMALL_HEADS`.
            receiver: The connection's protocol.
        """
        size = len(frame) - EMPTY_FRAME_BYTES
        if size > _SMALL_BYTES or frame[1] != _MASKED + size or receiver.close_sent:
            return False
        head = frame[0]
        if head == _PING:
            self._add_ping(frame)
            return True
        if head == _PONG:
            return receiver.pending_ping_payload is None
        return self._add_fragment(frame, receiver, head, size)

    def send_pongs(self) -> None:
        """Sends what answers the pings since the last call."""
        if self._latest:
            self._pongs.append(_pong_to(self._latest))
            self._latest = b""
        if self._pongs:
            if self._transport.get_write_buffer_size() <= _BACKLOG_BYTES:
                self._transport.write(b"".join(self._pongs))
            self._pongs.clear()

    def _add_ping(self, ping: bytes) -> None:
        if self._latest or not self._budget.pong():
            self._latest = ping
        else:
            self._pongs.append(_pong_to(ping))

    def _add_fragment(self, frame: bytes, receiver: Receiver, head: int, size: int) -> bool:
        before = receiver.conn.current_size
        first = head in (_FIRST_OF_TEXT, _FIRST_OF_BINARY)
        if first is not (before is None) or (before or 0) + size > self._max_bytes or receiver.conn.extensions:
            return False  # an extension may have encoded the message: only its first frame tells (RFC 7692 section 6.1)
        receiver.conn.current_size = None if head == _LAST else (before or 0) + size
        if first:
            text = head == _FIRST_OF_TEXT
            first_of = receiver.handle_text if text else receiver.handle_bytes
            first_of(Frame(_TEXT if text else _BINARY, _payload_of(frame), fin=False))
        elif size or head:  # empty ones change nothing
            receiver.handle_cont(Frame(_CONT, _payload_of(frame), fin=head == _LAST))
        return True


def _payload_of(frame: bytes) -> bytes:
    return apply_mask(frame[EMPTY_FRAME_BYTES:], frame[2:EMPTY_FRAME_BYTES])


def _pong_to(ping: bytes) -> bytes:
    payload = _payload_of(ping)
    return bytes((_PONG, len(payload))) + payload
