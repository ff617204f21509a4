"""Reading a trace: bytes from anywhere become its header and its records, or an error that names a place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any, Final
from zlib import crc32

from ..errors import TraceError
from .trace import (
    FLAG,
    FRAME_BYTES,
    KEYED,
    LINE,
    MICROSECONDS,
    MORE,
    MOST_BLOCK_BYTES,
    MOST_SIZE_BYTES,
    MOST_TEXT_BYTES,
    PUBLISHED,
    SAME_CHANNEL,
    SAME_SIZE,
    SHAPES,
    VERSION,
    ChannelSeen,
    Connected,
    Ended,
    Header,
    Published,
    Record,
)

_NAME: Final = b"fanwise trace "
_MOST_LINE_BYTES: Final = 32
_MOST_UNIX_SECONDS: Final = 253_402_300_799.0  # the end of the year 9999
_MOST_SHIFT: Final = 56  # of a varint's last byte: 63 bits
_TAG, _MOST_TAG = 15, 127
_KINDS: Final = {tag: (kind, shape) for kind, (tag, shape) in SHAPES.items()}


def read_trace(source: Iterable[bytes]) -> Iterator[Header | Record]:
    """Yields the header, and then the records, as their bytes come: at most one block and one chunk are kept.

    A trace whose last record is no `Ended` was cut between two blocks: what it says until then is right.

    Args:
        source: The bytes, in chunks of any size.

    Raises:
        TraceError: The bytes are no trace, or one of another version, or damaged, or cut inside a block. The error
            names the offset in bytes, and what is wrong there. What was yielded before is right.
    """
    reader = _Reader(source)
    _check_line(reader.line())
    yield _read_header(reader)
    book = _Book()
    while (offset := reader.offset) >= 0 and (content := reader.block()) is not None:
        yield from _read_records(_Content(content, offset + FRAME_BYTES), book)


class _Reader:
    """The bytes of a trace: its line and its blocks."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = iter(source)
        self._data = bytearray()
        self.offset = 0

    def line(self) -> bytes:
        """Returns the first line, or what is there in its place."""
        while b"\n" not in self._data and len(self._data) < _MOST_LINE_BYTES and self._more():
            pass
        line, newline, _ = bytes(self._data[:_MOST_LINE_BYTES]).partition(b"\n")
        self._skip(len(line + newline))
        return line + newline

    def block(self) -> bytes | None:
        """Returns the content of the next block; None at the end."""
        frame = self._peek(FRAME_BYTES)
        if not frame:
            return None
        if len(frame) < FRAME_BYTES:
            raise TraceError(self.offset, f"the trace ends after {len(frame)} of the {FRAME_BYTES} bytes of a frame")
        size, checksum = (int.from_bytes(part, "little") for part in (frame[:4], frame[4:]))
        if not 0 < size <= MOST_BLOCK_BYTES:
            raise TraceError(self.offset, f"a block of {size:,} bytes; allowed are 1 to {MOST_BLOCK_BYTES:,}")
        content = self._peek(FRAME_BYTES + size)[FRAME_BYTES:]
        if len(content) < size:
            raise TraceError(self.offset, f"the trace ends after {len(content):,} of the {size:,} bytes of a block")
        if crc32(content) != checksum:
            raise TraceError(self.offset, f"the checksum of a block is {crc32(content):#x} and should be {checksum:#x}")
        self._skip(FRAME_BYTES + size)
        return content

    def _peek(self, size: int) -> bytes:
        while len(self._data) < size and self._more():
            pass
        return bytes(self._data[:size])

    def _skip(self, size: int) -> None:
        del self._data[:size]
        self.offset += size

    def _more(self) -> bool:
        chunk = next(self._source, None)
        self._data += chunk or b""
        return chunk is not None


class _Content:
    """A block's content, of which a part was read. `offset`: of its first byte in the trace."""

    __slots__ = ("_data", "_offset", "place")

    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self._offset = offset
        self.place = 0

    def __bool__(self) -> bool:
        return self.place < len(self._data)

    def error(self, problem: str) -> TraceError:
        """Returns an error about what is to be read next."""
        return TraceError(self._offset + self.place, problem)

    def byte(self) -> int:
        """Reads a byte."""
        if not self:
            raise self.error("a record ends in its middle")
        self.place += 1
        return self._data[self.place - 1]

    def number(self) -> int:
        """Reads a varint."""
        value = shift = 0
        while (byte := self.byte()) >= MORE:
            value |= (byte - MORE) << shift
            shift += 7
            if shift > _MOST_SHIFT:
                raise self.error("a number has more than 63 bits")
        return value | byte << shift

    def text(self) -> str:
        """Reads a text."""
        size = self.number()
        if size > MOST_TEXT_BYTES:
            raise self.error(f"a text of {size:,} bytes; at most {MOST_TEXT_BYTES:,} are allowed")
        part = self._data[self.place : self.place + size]
        if len(part) < size:
            raise self.error("a record ends in its middle")
        try:
            text = part.decode()
        except UnicodeDecodeError as error:
            raise self.error("a text is not UTF-8") from error
        self.place += size
        return text


class _Book:
    """What the records so far have introduced. Owns the invariant that no record names what was not."""

    def __init__(self) -> None:
        self.micros = 0
        self.channels = 0
        self.clients = 0
        self.ended = False

    def check_channel(self, number: int, content: _Content) -> None:
        if not 0 < number <= self.channels:
            raise content.error(f"channel {number} was not introduced; known are 1 to {self.channels}")

    def check_client(self, number: int, content: _Content) -> None:
        if not 0 < number <= self.clients:
            raise content.error(f"client {number} was not introduced; known are 1 to {self.clients}")

    def introduce(self, record: Record, content: _Content) -> None:
        """Notes a new channel or client, and the end."""
        if isinstance(record, ChannelSeen):
            self.channels += 1
            if record.channel != self.channels:
                raise content.error(f"channel {record.channel} is introduced where {self.channels} should be")
        elif isinstance(record, Connected):
            self.clients += 1
            if record.client != self.clients:
                raise content.error(f"client {record.client} is introduced where {self.clients} should be")
        elif isinstance(record, Ended):
            self.ended = True


def _read_records(content: _Content, book: _Book) -> Iterator[Record]:
    past, channel, size_bytes = 0, 0, -1
    while content:
        if book.ended:
            raise content.error("a record comes after the end")
        tag = content.byte()
        past += content.number()
        if past < book.micros:
            raise content.error(f"time goes back from {book.micros} to {past} microseconds")
        book.micros = past
        at = past / MICROSECONDS
        if tag & _TAG != PUBLISHED:
            record = _read_record(tag, at, content, book)
            book.introduce(record, content)
            yield record
            continue
        if not tag & SAME_CHANNEL:
            channel = content.number()
        if not tag & SAME_SIZE:
            size_bytes = content.number()
            if size_bytes > MOST_SIZE_BYTES:
                raise content.error(f"a payload of {size_bytes:,} bytes; at most {MOST_SIZE_BYTES:,} are allowed")
        key = content.number() if tag & KEYED else 0
        book.check_channel(channel, content)
        if size_bytes < 0 or tag > _MOST_TAG:
            raise content.error("the first publication of a block has no size, or there is an unknown flag")
        yield Published(at, channel, size_bytes, key)


def _read_record(tag: int, at: float, content: _Content, book: _Book) -> Any:
    kind, shape = _KINDS.get(tag & _TAG, (None, ""))
    if kind is None or tag & ~_TAG & ~(FLAG if "f" in shape else 0):
        raise content.error(f"unknown is a record with the tag {tag}")
    values: list[object] = [at]
    for field in shape:
        if field == "f":
            values.append(bool(tag & FLAG))
        elif field == "t":
            values.append(content.text())
        else:
            number = content.number()
            if field == "c":
                book.check_channel(number, content)
            elif field == "p":
                book.check_client(number, content)
            values.append(number - (field == "n"))
    return kind(*values)


def _check_line(line: bytes) -> None:
    if line == LINE % VERSION:
        return
    if not line.startswith(_NAME):
        raise TraceError(0, f"this is no trace: it begins with {line!r} instead of {_NAME!r}")
    version = line.removeprefix(_NAME).strip().decode("ascii", "replace")
    raise TraceError(0, f"the trace has version {version!r}; this command knows {VERSION}")


def _read_header(reader: _Reader) -> Header:
    offset = reader.offset
    content = reader.block()
    if content is None:
        raise TraceError(offset, "the trace ends before its header")
    try:
        header = Header(**json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise TraceError(offset, f"the header is no JSON object with {', '.join(Header._fields)}") from error
    values = header.settings.values() if isinstance(header.settings, dict) else [[]]
    plain = all(value is None or isinstance(value, (str, int)) or _is_finite(value) for value in values)
    if not (isinstance(header.server, str) and isinstance(header.began_at, (int, float)) and plain):
        raise TraceError(offset, "the header has a value of another type than it takes")
    if not 0 <= header.began_at <= _MOST_UNIX_SECONDS:  # neither is NaN
        raise TraceError(offset, "the header's `began_at` is no time from 1970 to 9999")
    return header


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and isfinite(value)
