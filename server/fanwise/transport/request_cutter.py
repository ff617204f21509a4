"""Cuts what a peer sends where its requests end (RFC 9112, sections 2 and 6-7), so that one is worked on at a time.

The parser decides what is valid. The cutter only measures, so that bytes behind a request are not parsed before that
request was answered. The protocol class ends the connection if parser and cutter disagree on the end of a request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from ..core.codes import ErrorCode
from .refusals import RefusedError

_HEAD_END: Final = b"\r\n\r\n"
_LINE_END: Final = b"\r\n"
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
# A chunk's size and its extensions (RFC 9112 section 7.1.1: "a server ought to limit the total length").
CHUNK_LINE_BYTES: Final = 256
CHUNK_EXTENSION_BYTES: Final = 16_384  # of all chunks of a request
TRAILER_BYTES: Final = 4_096
CHUNKS: Final = 64  # of one piece: each takes 10 us, here and in the parser


class _Part(Enum):
    """The part of a request that comes next."""

    HEAD = "head"
    BODY = "body"  # `_left` bytes
    CHUNK_SIZE = "chunk size"
    CHUNK = "chunk"  # `_left` bytes, the line end behind it among them
    TRAILERS = "trailers"
    END = "end"  # the request is complete


class RequestCutter:
    """Owns the invariants: no piece reaches over the end of a request; heads, chunk lines and trailers are bounded.

    Args:
        head_bytes: The largest head.

    Attributes:
        many_chunks: Whether the latest piece was cut behind 64 chunks.
    """

    __slots__ = ("_extension_bytes", "_head_bytes", "_left", "_line", "_part", "_size", "many_chunks")

    def __init__(self, *, head_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._part = _Part.HEAD
        self._left = 0
        self._extension_bytes = 0
        self.many_chunks = False
        self._size = 0  # bytes of the head, or of the trailers, that have come
        self._line = b""  # the last three bytes of a head or of trailers; the bytes so far of a chunk's line

    @property
    def complete(self) -> bool:
        """Whether the end of a request was reached."""
        return self._part is _Part.END

    @property
    def in_head(self) -> bool:
        """Whether a head is what comes next, or goes on."""
        return self._part is _Part.HEAD

    @property
    def fresh(self) -> bool:
        """Whether nothing of a request has come yet."""
        return self._part is _Part.HEAD and not self._size

    def begin(self) -> None:
        """Expects another request."""
        self._part, self._line, self._size = _Part.HEAD, b"", 0

    def head_ended(self, *, body_bytes: int, chunked: bool) -> None:
        """Takes what the parser has found in the head: the length of the body, or that the body comes in chunks."""
        self._line, self._size, self._extension_bytes = b"", 0, 0
        if chunked:
            self._part = _Part.CHUNK_SIZE
        else:
            self._part, self._left = (_Part.BODY, body_bytes) if body_bytes else (_Part.END, 0)

    def head_of_rest(self) -> bytes:
        """Returns a head for a body that has not begun, to be fed to a new parser."""
        chunked = self._part is _Part.CHUNK_SIZE
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % self._left
        return b"POST / HTTP/1.1\r\nhost: x\r\n%s\r\n\r\n" % framing

    def cut(self, data: bytes, start: int) -> int:
        """Returns the end of the piece of `data` that begins at `start`.

        A piece ends with a head, a request, the 64th chunk or the data.

        Raises:
            RefusedError: A head, a chunk's line or the trailers are too long, or a chunk's size is no number.
        """
        at, end, chunks = start, len(data), 0
        self.many_chunks = False
        while at < end:
            if self._part is _Part.HEAD:
                found = self._after(_HEAD_END, data, at) or end
                self._grow(found - at, limit_bytes=self._head_bytes, what="the head of a request")
                return found
            if self._part is _Part.CHUNK_SIZE:
                if chunks == CHUNKS:
                    self.many_chunks = True
                    break
                at = self._chunk_size(data, at)
                chunks += 1
            elif self._part is _Part.TRAILERS:
                found = self._after(_HEAD_END, data, at)
                if found:
                    self._part = _Part.END
                self._grow((found or end) - at, limit_bytes=TRAILER_BYTES, what="the trailers of a request")
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
        """Returns the place behind `mark`, which may have begun in an earlier piece; 0 if `mark` has not ended yet."""
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

    def _grow(self, size: int, *, limit_bytes: int, what: str) -> None:
        self._size += size
        if self._size > limit_bytes:
            raise RefusedError(ErrorCode.HEAD_TOO_LARGE, f"{what} has more than the {limit_bytes} bytes allowed")

    def _chunk_size(self, data: bytes, at: int) -> int:
        """Reads a chunk's size; returns where the data goes on."""
        found = data.find(b"\n", at, at + CHUNK_LINE_BYTES)
        end = found + 1 if found >= 0 else len(data)
        self._line += data[at:end]
        if len(self._line) > CHUNK_LINE_BYTES:
            raise RefusedError(
                ErrorCode.BAD_REQUEST,
                f"the size of a chunk takes more than {CHUNK_LINE_BYTES} bytes with its extensions",
            )
        if found >= 0:
            digits = self._line.partition(b";")[0].strip()
            self._count_extensions(len(self._line.rstrip(_LINE_END)) - len(digits))
            if not _HEXADECIMAL.fullmatch(digits):  # int() also knows signs, underscores and 0x
                raise RefusedError(ErrorCode.BAD_REQUEST, f"the size of a chunk is no hexadecimal number: {digits!r}")
            size = int(digits, 16)
            self._left = size + len(_LINE_END)
            # The line end of the last chunk may end the trailers too, if there are none.
            self._part, self._line = (_Part.CHUNK, b"") if size else (_Part.TRAILERS, _LINE_END)
        return end

    def _count_extensions(self, size: int) -> None:
        self._extension_bytes += size
        if self._extension_bytes > CHUNK_EXTENSION_BYTES:
            raise RefusedError(
                ErrorCode.BAD_REQUEST,
                f"the chunks of a request have more than {CHUNK_EXTENSION_BYTES} bytes of extensions",
            )


class BodyOnly:
    """Callbacks for a parser that sees a body behind a head of ours: the request has begun already."""

    def __init__(self, on_body: Callable[[bytes], None], on_message_complete: Callable[[], None]) -> None:
        self.on_body = on_body
        self.on_message_complete = on_message_complete


def body_of(http_version: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, bool]:
    """Returns (bytes of a request's body, whether the body comes in chunks instead).

    The parser has refused both at once, and what contradicts itself.

    Args:
        http_version: As the parser has it.
        headers: With names in lower case.

    Raises:
        RefusedError: The version is another than 1.0 and 1.1, or there are two hosts.
    """
    chunked, body_bytes, hosts = False, 0, 0
    for name, value in headers:
        if name == b"transfer-encoding":
            chunked = True
        elif name == b"content-length":
            body_bytes = int(value)
        elif name == b"host":
            hosts += 1
    if http_version not in ("1.0", "1.1"):  # the parser also takes 0.9, with headers and a body
        raise RefusedError(ErrorCode.BAD_REQUEST, "the version of HTTP is 1.1 or 1.0")
    if hosts > 1:  # RFC 9112 section 3.2
        raise RefusedError(ErrorCode.BAD_REQUEST, "a request names one host")
    return body_bytes, chunked
