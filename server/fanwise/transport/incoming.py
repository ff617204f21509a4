"""What comes in on a WebSocket: frames become messages, within the bounds of the connection.

All frames that RFC 6455 allows are taken in here. One that breaks a rule is shown to the `websockets` library, which
knows how the connection fails.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from websockets.exceptions import ProtocolError
from websockets.frames import Close

from ..core.publication import Kind
from ..core.reasons import CloseReason
from .fair_share import FRAME_BYTES, LARGE_BYTES, MANY_FRAMES
from .frames import (
    BINARY,
    EMPTY_FRAME_BYTES,
    OTHER,
    TEXT,
    Fragments,
    FrameCutter,
    carries_nothing,
    is_whole,
    judge,
    payload_of,
    pong_to,
    utf_8_tail,
)
from .leased_transport import LeasedTransport
from .limits import Budget, Limits
from .pacing import MessageDeadline, Pacer

# As globals: CPython 3.11 makes a call of each attribute of an enum.
_TEXT_KIND, _BINARY_KIND = Kind.TEXT, Kind.BINARY
# Turns of the loop for the answers to what came before a broken rule, and the time between two. Then the close frame.
LAST_TURNS, TURN_SECONDS = 10, 0.005
_FRAGMENT_BYTES: Final = 48  # of an object, beside its data
HELD_BYTES: Final = 65_536  # of one connection; what is less is not counted against `memory_bytes`
_BACKLOG_BYTES: Final = 131_072  # twice what a client that is behind may have waiting: a peer with more gets no pongs
_CLOSE, _PING, _PONG = 0x88, 0x89, 0x8A
_FIRST_OF_TEXT, _FIRST_OF_BINARY, _CONTINUATION, _LAST = 0x01, 0x02, 0x00, 0x80
_CONTROL: Final = frozenset((_CLOSE, _PING, _PONG))
_FRAGMENT: Final = frozenset((_FIRST_OF_TEXT, _FIRST_OF_BINARY, _CONTINUATION, _LAST))
_OPCODE: Final = 0x0F
_SMALL_BYTES: Final = 125  # the largest payload whose length is in the frame's second byte


class Receiving(Protocol):
    """A connection, as what comes in is handed to it."""

    transport: LeasedTransport
    open: bool
    close_sent: bool
    held: bool

    def deliver(self, kind: Kind, payload: bytes) -> None:
        """Takes a message."""

    @property
    def takes_texts(self) -> bool:
        """Whether it may take texts together."""

    def deliver_texts(self, texts: list[bytes]) -> bool:
        """Takes texts together, or returns False and takes none."""

    def receiving(self) -> None:
        """Hears that the bytes which were received and not read have changed."""

    def ponged(self, payload: bytes) -> None:
        """Hears of a pong."""

    def close_came(self, payload: bytes) -> None:
        """Hears of a close frame with a legal payload."""

    def drop(self, reason: CloseReason, text: str) -> None:
        """Closes the connection of a peer that sends too much."""

    def fail(self, code: int, text: str) -> None:
        """Closes the connection of a peer that breaks a rule."""


class Incoming:
    """Owns the invariants of what a peer may send: sizes, rates, deadlines, and its share of the loop.

    Pings are answered at the budget's rate, in one write for all pings of a read. A ping beyond the rate is answered if
    no other follows in the read (RFC 6455 section 5.5.3).

    Args:
        connection: Whose peer it is.
        loop: Whose share and timers are used.
        limits: What the peer may send.
        max_bytes: The largest message.

    Attributes:
        budget: The rates of the connection.
    """

    __slots__ = (
        "_connection",
        "_cutter",
        "_deadline",
        "_deaf",
        "_fragment_bytes",
        "_fragments",
        "_is_text",
        "_joining",
        "_latest_ping",
        "_limits",
        "_loop",
        "_max_bytes",
        "_pacer",
        "_pongs",
        "_text_tail",
        "budget",
    )

    def __init__(
        self,
        connection: Receiving,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        *,
        max_bytes: int,
    ) -> None:
        self.budget = Budget(limits)
        self._connection = connection
        self._loop = loop
        self._limits = limits
        self._max_bytes = max_bytes
        self._cutter = FrameCutter(max_bytes=max_bytes)
        self._pacer = Pacer(loop, connection.transport, self.budget, self._take_turn)
        self._deadline: MessageDeadline | None = None  # from the first unfinished message on
        self._deaf = False  # whether what comes in is dropped: the connection ends
        self._fragments: list[bytes] | None = None  # of the message that has begun; None between two
        self._joining = Fragments(at_most=limits.fragments)
        self._fragment_bytes = 0
        self._is_text = False
        self._text_tail = b""  # the beginning of a character, at the end of the fragments
        self._pongs: list[bytes] = []
        self._latest_ping = b""  # beyond the rate

    @property
    def unfinished_bytes(self) -> int:
        """Bytes of unfinished frames and messages, with what an object takes. O(1)."""
        return len(self._cutter.rest) + self._fragment_bytes + _FRAGMENT_BYTES * len(self._fragments or ())

    def stop(self) -> None:
        """Ends all clocks for good."""
        self._pacer.stop()
        if self._deadline is not None:
            self._deadline.stop()

    def feed(self, data: bytes = b"") -> None:  # noqa: C901, PLR0912
        """Takes in what has come, some frames a turn, and paces the peer."""
        if self._deaf:
            self._pacer.drain()
            return
        connection, share, size = self._connection, self._pacer.share, len(data)
        if size <= LARGE_BYTES and not (self._cutter.rest or connection.held) and self._feed_one(data):
            return
        at_most = share.frames if size <= LARGE_BYTES or share.take_read(size) else 0
        count, frames = self._cut(data, at_most)
        others = idle = 0
        for kind, piece in frames:
            if kind == OTHER:
                others += 1
                idle += carries_nothing(piece)
                if self._take_other(piece):
                    frames = self._put_back(frames, piece)
                    break
            elif kind == TEXT and piece.isascii():
                connection.deliver(_TEXT_KIND, piece)
            else:
                self._take_message(piece, text=kind != BINARY)
            if self._deaf or (not connection.open and connection.transport.is_closing()):
                return  # what comes after the end does not count
        budget = self.budget
        count += len(frames)
        budget.messages -= count
        budget.bytes -= size
        if count > MANY_FRAMES and size:  # without a read, it was this connection's turn
            share.spend(count)
        if self._cutter.rest or self._fragments is not None or connection.held:
            self._watch(finished=others < count)
        elif self._deadline is not None:
            self._deadline.begun_at = 0.0
        if self._cutter.more or idle or budget.messages < 0 or budget.bytes < 0:
            self._pace(idle, unparsed_bytes=0 if at_most else size)
        else:
            connection.transport.release_reading()

    def _take_turn(self) -> None:
        """Takes in what has waited for this turn; large frames take more of the turn than small ones."""
        waited = len(self._cutter.rest)
        self.feed()
        parsed = waited - len(self._cutter.rest)
        if parsed > LARGE_BYTES:
            self._pacer.share.spend(parsed // FRAME_BYTES)

    def _feed_one(self, data: bytes) -> bool:
        """Takes in a read, behind which nothing waits, if it is one plain frame, as most are; else returns False."""
        connection, budget = self._connection, self.budget
        payload = self._cutter.take_one(data, raw=connection.close_sent)
        if payload is None:
            return False
        self._take_message(payload, text=data[0] != BINARY)
        budget.messages -= 1
        budget.bytes -= len(data)
        if connection.open and not self._deaf:
            if budget.messages < 0 or budget.bytes < 0:
                self._pace(0)
            else:
                connection.transport.release_reading()
        return True

    def _cut(self, data: bytes, at_most: int) -> tuple[int, list[tuple[int, bytes]]]:
        """Cuts what has come; returns how many texts were handed on together, and the frames that were not."""
        connection = self._connection
        if not (at_most and connection.takes_texts):
            return 0, self._cutter.feed(data, raw=connection.close_sent, at_most=at_most)
        texts, frames = self._cutter.feed_texts(data, raw=connection.close_sent, at_most=at_most)
        if len(texts) > 1 and b"".join(texts).isascii() and connection.deliver_texts(texts):
            return len(texts), frames
        return 0, [(TEXT, text) for text in texts] + frames

    def _watch(self, *, finished: bool) -> None:
        """Gives an unfinished message its time, and has the memory counted that it takes."""
        unfinished = bool(self._cutter.rest or self._fragments is not None) and not self._connection.close_sent
        if self._deadline is None and unfinished:
            seconds = self._limits.message_seconds
            transport = self._connection.transport
            self._deadline = MessageDeadline(self._loop, transport, seconds=seconds, late=self._message_is_late)
        if self._deadline is not None:
            self._deadline.watch(unfinished=unfinished, finished=finished)
        if self._fragments is not None or self._connection.held or len(self._cutter.rest) > HELD_BYTES:
            self._connection.receiving()

    def _pace(self, idle: int, *, unparsed_bytes: int = 0) -> None:
        """Sends the pongs, paces the peer, and ends the connection of a flood."""
        self._send_pongs()
        if not self._pacer.pace(control_frames=idle, more=self._cutter.more, unparsed_bytes=unparsed_bytes):
            self._drop(CloseReason.RATE, CloseReason.RATE.text)

    def _message_is_late(self) -> None:
        if not self._connection.close_sent:
            self._drop(CloseReason.RATE, f"rate: a message takes more than {self._limits.message_seconds:g} s")

    # Frames.

    def _take_message(self, payload: bytes, *, text: bool) -> None:
        if not text:
            self._connection.deliver(_BINARY_KIND, payload)
        elif payload.isascii() or utf_8_tail(payload, final=True) is not None:
            self._connection.deliver(_TEXT_KIND, payload)
        else:
            self._fail(CloseReason.BAD_TEXT.code, CloseReason.BAD_TEXT.text)

    def _take_other(self, frame: bytes) -> bool:
        """Takes in a control frame or a fragment, or fails the connection for what is neither.

        Returns whether the rest of what has come waits for the connection's next turn.
        """
        head = frame[0]
        if self._connection.close_sent:
            if head == _CLOSE:
                self._connection.close_came(b"")
        elif head in _CONTROL:
            if len(frame) - EMPTY_FRAME_BYTES > _SMALL_BYTES or not is_whole(frame):
                self._judge(frame)
            elif head == _PING:
                self._add_ping(frame)
            elif head == _PONG:
                self._connection.ponged(payload_of(frame))
            else:
                self._take_close(frame)
        elif not is_whole(frame) or not self._take_fragment(frame, head):
            self._judge(frame)
        return False

    def _put_back(self, frames: list[tuple[int, bytes]], last: bytes) -> list[tuple[int, bytes]]:
        """Gives the frames behind `last` back to the cutter; returns those up to it."""
        count = next(at for at, (_, piece) in enumerate(frames, 1) if piece is last)
        self._cutter.put_back(frames[count:], in_message=self._fragments is not None)
        return frames[:count]

    def _take_close(self, frame: bytes) -> None:
        payload = payload_of(frame)
        try:
            Close.parse(payload)
        except (ProtocolError, UnicodeDecodeError):
            self._fragments = None  # a close frame may come in the middle of a message (RFC 6455 section 5.4)
            self._judge(frame)
            return
        self._deaf = True
        self._send_pongs()
        self._connection.close_came(payload)

    def _take_fragment(self, frame: bytes, head: int) -> bool:
        """Takes in the next part of a message; returns False if it breaks a rule."""
        if head not in _FRAGMENT:
            return False
        payload = payload_of(frame)
        first = head & _OPCODE != _CONTINUATION
        if first is (self._fragments is not None) or self._fragment_bytes + len(payload) > self._max_bytes:
            return False
        if first or self._fragments is None:
            self._is_text, self._text_tail, self._fragments = head & _OPCODE == _FIRST_OF_TEXT, b"", []
        self._add_fragment(self._fragments, payload, final=head & _LAST != 0)
        return True

    def _add_fragment(self, fragments: list[bytes], payload: bytes, *, final: bool) -> None:
        if self._deaf:
            return
        if self._is_text and not self._is_text_so_far(payload, final=final):
            self._fail(CloseReason.BAD_TEXT.code, CloseReason.BAD_TEXT.text)
        elif payload and len(fragments) >= self._joining.join_at and not self._joining.join(fragments):
            problem = f"message too big: it has more than {self._limits.fragments} fragments"
            self._drop(CloseReason.TOO_BIG, problem)
        else:
            if payload:  # empty ones are legal, and no reason to keep them
                fragments.append(payload)
                self._fragment_bytes += len(payload)
            if final:
                self._finish(fragments)

    def _finish(self, fragments: list[bytes]) -> None:
        self._joining.end()
        self._fragments = None
        self._fragment_bytes = 0
        if self._deadline is not None:
            self._deadline.begun_at = 0.0
        self._connection.deliver(_TEXT_KIND if self._is_text else _BINARY_KIND, b"".join(fragments))

    def _is_text_so_far(self, payload: bytes, *, final: bool) -> bool:
        """Returns whether a fragment may be one of a text (RFC 6455 section 8.1)."""
        if not self._text_tail and payload.isascii():
            return True
        tail = utf_8_tail(self._text_tail + payload, final=final)
        self._text_tail = tail or b""
        return tail is not None

    # Pongs.

    def _add_ping(self, ping: bytes) -> None:
        if self._latest_ping or not self.budget.pong():
            self._latest_ping = ping
        else:
            self._pongs.append(pong_to(ping))

    def _send_pongs(self) -> None:
        """Sends what answers the pings since the last call. A peer that reads no pongs is sent no more."""
        if self._latest_ping:
            self._pongs.append(pong_to(self._latest_ping))
            self._latest_ping = b""
        if self._pongs:
            transport = self._connection.transport
            if transport.get_write_buffer_size() <= _BACKLOG_BYTES and not self._connection.close_sent:
                transport.write(b"".join(self._pongs))
            self._pongs.clear()

    # The end.

    def _judge(self, frame: bytes) -> None:
        """Fails the connection for a frame that breaks a rule, as the library does."""
        begun_bytes = None if self._fragments is None else self._fragment_bytes
        close = judge(frame, max_bytes=self._max_bytes, begun_bytes=begun_bytes)
        self._fail(close.code, close.reason)

    def _drop(self, reason: CloseReason, text: str) -> None:
        """Closes the connection of a peer that sends too much. Later bytes are dropped unparsed."""
        self._deafen()
        self._pacer.drain()  # so that the close frame can arrive before a reset does
        self._connection.drop(reason, text)

    def _fail(self, code: int, text: str) -> None:
        """Fails the connection, after the answers to the messages before, and drops what still comes.

        Unread bytes would reset the connection before the close frame.
        """
        self._deafen()
        self._connection.transport.release_reading()
        self._fail_after(LAST_TURNS, code, text)

    def _fail_after(self, turns: int, code: int, text: str) -> None:
        if turns:
            self._loop.call_later(TURN_SECONDS, self._fail_after, turns - 1, code, text)
        else:
            self._connection.fail(code, text)

    def _deafen(self) -> None:
        self._deaf = True
        self._fragments = None
        self._fragment_bytes = 0
        self._send_pongs()
