"""Cuts what a peer sends into frames (RFC 6455 section 5.2), and unmasks those that are whole messages.

A plain frame is a final text or binary frame that has come completely. Nearly all frames that a server gets are plain,
and take a quarter of the time of the `websockets` library's parser (`benchmarks/test_intake.py`). Other frames come out
as they are: `incoming` takes in what RFC 6455 allows.
"""

from __future__ import annotations

import logging
from codecs import utf_8_decode
from collections.abc import Iterable
from struct import Struct, iter_unpack
from typing import Final

from websockets.frames import (  # type: ignore[attr-defined]  # in C where it can be
    Close,
    apply_mask,
)
from websockets.protocol import State
from websockets.server import ServerProtocol

from ..core.reasons import CloseReason
from .fair_share import FRAMES_A_TURN

OTHER: Final = 0
TEXT: Final = 0x81  # final, no extension bits, opcode 1
BINARY: Final = 0x82
EMPTY_FRAME_BYTES: Final = 6

_WHOLE: Final = frozenset((TEXT, BINARY))
_MASKED: Final = 0x80
_FINAL: Final = 0x80
_PONG: Final = 0x8A
_OPCODE: Final = 0x0F
_LAST_DATA_OPCODE: Final = 2  # binary; a number, as CPython 3.11 makes a call of each attribute of an enum
_TWO_BYTES: Final = 126  # the length is in the next two bytes
_EIGHT_BYTES: Final = 127
_SHORTEST_HEADER: Final = 2
_NO_MASK: Final = bytes(4)
_EMPTY_TEXT, _LONG_TEXT = TEXT << 8 | _MASKED, TEXT << 8 | _MASKED | _TWO_BYTES  # the first two bytes of text frames
_TEXT_HEAD: Final = Struct("!HH").unpack_from
_TEXT_HEADER: Final = 8  # bytes before a payload whose length takes two bytes
_FEW: Final = 4  # texts, which are cut one after another in less time
# Heads with a reserved opcode: the rest of such a frame is not waited for.
_NEVER: Final = frozenset(head for head in range(256) if head & 0x07 > _LAST_DATA_OPCODE)
_APART: Final = 64  # fragments
_QUIET: Final = logging.getLogger("fanwise.judged")  # frames and headers carry keys: the library logs none
_QUIET.disabled = True
_SURROGATE: Final = b"\xed\xa0"  # Python's decoder waits for its third byte
_BEHIND_SURROGATES: Final = b"\xee"


class FrameCutter:
    """Owns the invariant that bytes handed out as OTHER are whole frames: no other parser has half of one.

    Args:
        max_bytes: The largest payload. The beginning of a larger frame comes out as OTHER at once, with all that
            follows: it breaks a rule, and the connection fails.
    """

    __slots__ = ("_broken", "_fragments", "_max_bytes", "more", "rest")

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.rest = bytearray()  # what has come and was not handed out
        self._fragments = False  # whether a fragmented message has begun and not ended
        self._broken = False  # whether a frame has broken a rule: nothing is cut any more
        self.more = False  # whether `feed` has left frames for its next call

    def feed(self, data: bytes, *, raw: bool, at_most: int = FRAMES_A_TURN) -> list[tuple[int, bytes]]:  # noqa: C901
        """Returns the next frames: (TEXT or BINARY, unmasked payload) or (OTHER, the bytes as they are).

        `more` is then whether frames beyond `at_most` are left, which `feed(b"")` returns. With `raw` all are OTHER.
        """
        self.more = False
        if self._broken:
            return [(OTHER, data)] if data else []
        stream: bytes | bytearray = data
        if self.rest:
            self.rest += data
            stream = self.rest
        frames: list[tuple[int, bytes]] = []
        start, size = 0, len(stream)
        while size - start >= _SHORTEST_HEADER:
            if len(frames) == at_most:
                self.more = True
                break
            at, end = self._measure(stream, start, size)
            if at < 0 or (end > size and stream[start] in _NEVER):
                self._broken = True
                frames.append((OTHER, bytes(stream[start:])))
                start = size
                break
            if end > size:
                break
            head = stream[start]
            if head in _WHOLE and not raw and not self._fragments:
                frames.append((head, apply_mask(stream[at:end], stream[at - 4 : at])))
            else:
                if head & _OPCODE <= _LAST_DATA_OPCODE:  # a data frame; control frames may come between fragments
                    self._fragments = not head & _FINAL
                frames.append((OTHER, bytes(stream[start:end])))
            start = end
        if stream is not data:
            del self.rest[:start]
        elif start < size:
            self.rest = bytearray(stream[start:])
        return frames

    def take_one(self, data: bytes, *, raw: bool) -> bytes | None:
        """Returns the unmasked payload if `data` is one plain frame, which is cut by that; else None.

        Most reads of a paced peer are one frame. `rest` is empty.
        """
        size = len(data)
        if size < EMPTY_FRAME_BYTES or data[0] not in _WHOLE or raw or self._fragments or self._broken:
            return None
        at, end = self._measure(data, 0, size)
        return apply_mask(data[at:], data[at - 4 : at]) if end == size else None

    def feed_texts(
        self, data: bytes, *, raw: bool, at_most: int = FRAMES_A_TURN
    ) -> tuple[list[bytes], list[tuple[int, bytes]]]:
        """Returns the payloads of the text frames that come first, and the frames behind them, as `feed` does."""
        if raw or self._fragments or self._broken:
            return [], self.feed(data, raw=raw, at_most=at_most)
        if not self.rest:
            texts, end = self._cut_texts(data, at_most)
            return texts, self.feed(data[end:], raw=False, at_most=at_most - len(texts))
        self.rest += data
        texts, end = self._cut_texts(self.rest, at_most)
        del self.rest[:end]
        return texts, self.feed(b"", raw=False, at_most=at_most - len(texts))

    def _cut_texts(self, data: bytes | bytearray, at_most: int) -> tuple[list[bytes], int]:
        """Returns the unmasked payloads of the text frames that begin `data`, and where what is left begins.

        Frames of 64 KiB and more are left.
        """
        texts, start = self._cut_alike(data, at_most)
        size, max_bytes = len(data), self._max_bytes
        last = size - _TEXT_HEADER  # where a frame with the longer header may begin
        for _ in range(at_most - len(texts)):
            if start > last:
                break
            head, length = _TEXT_HEAD(data, start)
            at = start + _TEXT_HEADER
            if head != _LONG_TEXT:
                at, length = start + EMPTY_FRAME_BYTES, head - _EMPTY_TEXT
                if not 0 <= length < _TWO_BYTES:
                    break
            end = at + length
            if end > size or length > max_bytes:
                break
            texts.append(apply_mask(data[at:end], data[at - 4 : at]))
            start = end
        return texts, start

    def _cut_alike(self, data: bytes | bytearray, at_most: int) -> tuple[list[bytes], int]:
        """Returns what `_cut_texts` does, for texts whose headers are the same. Few are left.

        Texts of one length take half the time of others: all headers are looked at together.
        """
        if len(data) < _TEXT_HEADER * _FEW:
            return [], 0
        head, length = _TEXT_HEAD(data)
        before_mask = _TEXT_HEADER - len(_NO_MASK)
        if head != _LONG_TEXT:
            before_mask, length = _SHORTEST_HEADER, head - _EMPTY_TEXT
            if not 0 <= length < _TWO_BYTES:
                return [], 0
        size = before_mask + len(_NO_MASK) + length
        count = min(len(data) // size, at_most)
        for at in range(before_mask):
            count -= len(data[at : count * size : size].lstrip(data[at : at + 1]))
        if count <= _FEW or length > self._max_bytes:
            return [], 0
        parts = iter_unpack(f"{before_mask}x4s{length}s", data[: count * size])
        return [apply_mask(payload, mask) for mask, payload in parts], count * size

    def put_back(self, frames: Iterable[tuple[int, bytes]], *, in_message: bool) -> None:
        """Takes frames back that `feed` has returned last; they come first in its next call.

        `in_message`: whether the frames before them have begun a message and not ended it.
        """
        again = b"".join([piece if head == OTHER else _masked(head, piece) for head, piece in frames])
        if again:
            self.rest[:0] = again
            self._fragments, self._broken, self.more = in_message, False, True

    def _measure(self, stream: bytes | bytearray, start: int, size: int) -> tuple[int, int]:
        """Returns where the payload of the frame at `start` begins and ends; (-1, 0) if the frame ends the connection.

        The end is beyond `size` while the frame has not come completely.
        """
        length = stream[start + 1] - _MASKED
        if length < 0:
            return -1, 0
        at = start + 6
        if length == _TWO_BYTES:
            at += 2
            if size < at - 4:  # without the mask, which says nothing of the length
                return at, size + 1
            length = stream[start + 2] << 8 | stream[start + 3]  # `int.from_bytes` takes twice as long
        elif length == _EIGHT_BYTES:
            at += 8
            if size < at - 4:
                return at, size + 1
            length = int.from_bytes(stream[start + 2 : at - 4])
        return (-1, 0) if length > self._max_bytes else (at, at + length)


def _masked(head: int, payload: bytes) -> bytes:
    """Returns a plain frame as a peer might have sent it: with a mask of zeros."""
    size = len(payload)
    if size < _TWO_BYTES:
        return bytes((head, _MASKED + size)) + _NO_MASK + payload
    if size < 1 << 16:
        return bytes((head, _MASKED + _TWO_BYTES)) + size.to_bytes(2) + _NO_MASK + payload
    return bytes((head, _MASKED + _EIGHT_BYTES)) + size.to_bytes(8) + _NO_MASK + payload


class Fragments:
    """Owns the invariant that at most 64 fragments of a message are kept apart: an object for each takes 50 bytes.

    Args:
        at_most: Fragments of one message.

    Attributes:
        join_at: The number of objects at which the owner calls `join`.
    """

    __slots__ = ("_at_most", "_joined", "join_at")

    def __init__(self, *, at_most: int) -> None:
        self._at_most = at_most
        self.end()

    def join(self, fragments: list[bytes]) -> bool:
        """Makes one object of `fragments`, in place; returns whether there may be more of them."""
        self._joined += len(fragments) - 1
        fragments[:] = [b"".join(fragments)]
        self.join_at = min(_APART, self._at_most - self._joined)
        return self.join_at > 1

    def end(self) -> None:
        """The message has ended."""
        self._joined = 0  # fragments that are no longer apart
        self.join_at = min(_APART, self._at_most)


def utf_8_tail(text: bytes, *, final: bool) -> bytes | None:
    """Returns the beginning of a character that ends `text`, or None if `text` is not UTF-8 (RFC 3629) so far.

    A beginning is wrong where `final`, and where no byte can make a character of it.
    """
    try:
        tail = text[utf_8_decode(text, "strict", final)[1] :]
    except UnicodeDecodeError:
        return None
    return None if _SURROGATE <= tail < _BEHIND_SURROGATES else tail


def carries_nothing(frame: bytes) -> bool:
    """Whether a frame is a ping, a pong, or empty and not the last of its message.

    Libraries end messages of unknown length with an empty frame: honest clients send many of those.
    """
    return frame[0] & 0x08 != 0 or (not frame[0] & _FINAL and len(frame) == EMPTY_FRAME_BYTES)


def is_whole(frame: bytes) -> bool:
    """Whether bytes are one masked frame from its head to its end: not the beginning of one that breaks a rule."""
    length = frame[1] - _MASKED
    at = _payload_at(frame)
    if length >= _TWO_BYTES:
        length = int.from_bytes(frame[2 : at - 4])
    return length >= 0 and at + length == len(frame)


def _payload_at(frame: bytes) -> int:
    length = frame[1] & ~_MASKED
    return EMPTY_FRAME_BYTES + (0 if length < _TWO_BYTES else 2 if length == _TWO_BYTES else 8)


def payload_of(frame: bytes) -> bytes:
    """Returns the unmasked payload of a whole frame."""
    at = _payload_at(frame)
    return apply_mask(frame[at:], frame[at - 4 : at])


def pong_to(ping: bytes) -> bytes:
    """Returns the pong to a whole ping (RFC 6455 section 5.5.3)."""
    payload = payload_of(ping)
    return bytes((_PONG, len(payload))) + payload


def judge(frame: bytes, *, max_bytes: int, begun_bytes: int | None) -> Close:
    """Returns how the connection fails for a frame that breaks a rule, as the library does.

    Args:
        frame: The frame, or its beginning.
        max_bytes: The largest message.
        begun_bytes: Of a message that has begun; None between two.
    """
    library = ServerProtocol(state=State.OPEN, max_size=max_bytes, logger=_QUIET)
    library.current_size = begun_bytes
    library.receive_data(frame)
    return library.close_sent or Close(CloseReason.PROTOCOL_ERROR.code, CloseReason.PROTOCOL_ERROR.text)
