"""Cuts what a peer sends where its requests end (RFC 9112, sections 2 and 6-7), so that one is worked on at a time.

The parser decides what is valid; here it is only measured, so that what comes behind a request is not parsed before
that request was answered. If the two ever disagree on where a request ends, the protocol class ends the connection.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_LINE_END: Final = b"\r\n"
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
# A chunk's size and its extensions (RFC 9112 section 7.1.1: "a server ought to limit the total length").
CHUNK_LINE_BYTES: Final = 256


class _Part(Enum):
    """What comes next."""

    HEAD = "head"
    BODY = "body"  # `_left` bytes
    CHUNK_SIZE = "chunk size"
    CHUNK = "chunk"  # `_left` bytes, the line end behind it among them
    TRAILERS = "trailers"
    END = "end"  # the request is complete


class RequestCutter:
    """Owns the invariant that no piece reaches over the end of a request."""

    __slots__ = ("_left", "_line", "_part")

    def __init__(self) -> None:
        self._part = _Part.HEAD
        self._left = 0
        self._line = b""  # of a head or of trailers its last three bytes, of a chunk's size what has come of it

    @property
    def complete(self) -> bool:
        """Whether the end of a request was reached."""
        return self._part is _Part.END

    def begin(self) -> None:
        """Another request may follow."""
        self._part, self._line = _Part.HEAD, b""

    def head_ended(self, *, body_bytes: int, chunked: bool) -> None:
        """What the parser has found in the head: the length of the body, or that it comes in chunks."""
        self._line = b""
        if chunked:
            self._part = _Part.CHUNK_SIZE
        else:
            self._part, self._left = (_Part.BODY, body_bytes) if body_bytes else (_Part.END, 0)

    def cut(self, data: bytes, start: int) -> int:
        """Where the piece of `data` that begins at `start` ends: at the end of a head or request, or of the data.

        Raises:
            ValueError: A chunk's size is no number, or its line is too long.
        """
        at, end = start, len(data)
        while at < end:
            if self._part is _Part.HEAD:
                return self._after(_HEAD_END, data, at) or end
            if self._part is _Part.CHUNK_SIZE:
                at = self._chunk_size(data, at)
            elif self._part is _Part.TRAILERS:
                found = self._after(_HEAD_END, data, at)
                if found:
                    self._part = _Part.END
                at = found or end
            else:
                taken = min(self._left, end - at)
                at += taken
                self._left -= taken
                if not self._left and self._part is _Part.BODY:
                    self._part = _Part.END
                elif not self._left:
                    self._part = _Part.CHUNK_SIZE
            if self._part is _Part.END:
                break
        return at

    def _after(self, mark: bytes, data: bytes, at: int) -> int:
        """Where the data goes on behind `mark`, which may have begun in an earlier piece; 0 if it has not ended yet."""
        before = self._line
        seam = before + data[at : at + len(mark) - 1]
        found = seam.find(mark)
        if found >= 0:
            ends = at + found + len(mark) - len(before)
        else:
            found = data.find(mark, at)
            ends = found + len(mark) if found >= 0 else 0
        self._line = b"" if ends else (before + data[max(at, len(data) - 3) :])[-3:]
        return ends

    def _chunk_size(self, data: bytes, at: int) -> int:
        """Reads a chunk's size; returns where the data goes on."""
        found = data.find(b"\n", at, at + CHUNK_LINE_BYTES)
        end = found + 1 if found >= 0 else len(data)
        self._line += data[at:end]
        if len(self._line) > CHUNK_LINE_BYTES:
            raise ValueError(f"the size of a chunk takes more than {CHUNK_LINE_BYTES} bytes")
        if found >= 0:
            digits = self._line.partition(b";")[0].strip()
            if not _HEXADECIMAL.fullmatch(digits):  # int() also knows signs, underscores and 0x
                raise ValueError(f"the size of a chunk is no number: {digits!r}")
            size = int(digits, 16)
            self._left = size + len(_LINE_END)
            # What ends the line of the last chunk may end the trailers too, if there are none.
            self._part, self._line = (_Part.CHUNK, b"") if size else (_Part.TRAILERS, _LINE_END)
        return end
