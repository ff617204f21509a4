"""Compressed frames (permessage-deflate, RFC 7692): made once per publication, like all encodings.

The server never takes a context over from one message to the next (`server_no_context_takeover`). So one frame is right
for all clients that have agreed on the extension, whenever they came, and no connection keeps a window.
"""

from __future__ import annotations

import zlib
from typing import Final

from .counters import Counters
from .dialect import JSON, PLAIN, Dialect
from .encoding import json_message, plain_payload, websocket_frame
from .publication import Encoding, Kind, Publication

# Larger messages go out as they are. The costliest input of this size takes 2 ms at level 3, and 160 ms at level 9: a
# sweep holds the loop for 3 ms.
AT_MOST_BYTES: Final = 65_536
HIGHEST_LEVEL: Final = 3
SLICE_BYTES: Final = 32_768  # of payload, compressed between two looks at the clock; JSON may be six times as long
# What ends a message that was flushed, and what is left out on the wire (RFC 7692 section 7.2.1).
TAIL: Final = b"\x00\x00\xff\xff"
_WINDOW_BITS: Final = -15  # the largest window, without a header
_TEXT_HEAD, _BINARY_HEAD = 0xC1, 0xC2  # final, compressed (RSV1), opcodes 1 and 2
_BINARY = Kind.BINARY  # as a global: CPython 3.11 makes a call of each attribute of an enum


class Deflater:
    """Compresses messages. Owns the invariant that no output refers to an earlier message.

    One compressor serves the process: a new one for each message would take 300 KB for its tables each time.

    Args:
        tally: Counts compressions.
        from_bytes: The least payload that is compressed; None: no payload.
        level: 1 (fastest) to 3 (smallest).

    Raises:
        ValueError: One of both is out of range.
    """

    def __init__(self, tally: Counters, *, from_bytes: int | None, level: int) -> None:
        if not 1 <= level <= HIGHEST_LEVEL:
            raise ValueError(f"compress_level={level} is not between 1 and {HIGHEST_LEVEL}")
        if from_bytes is not None and from_bytes < 1:
            raise ValueError(f"compress_from_bytes={from_bytes} is less than 1")
        self._tally = tally
        self._dialects: dict[Dialect, Dialect] = {}
        if from_bytes is not None:
            self._compressor = zlib.compressobj(level, zlib.DEFLATED, _WINDOW_BITS)
            self._add(PLAIN, plain_payload, binary=True, from_bytes=from_bytes)
            self._add(JSON, json_message, binary=False, from_bytes=from_bytes)

    def dialect(self, dialect: Dialect, *, agreed: bool) -> Dialect:
        """Returns the twin of `dialect` for a client that has agreed on compression, or else `dialect` itself."""
        return self._dialects.get(dialect, dialect) if agreed else dialect

    def compress(self, message: bytes) -> bytes | None:
        """Returns the compressed payload of a frame; None if that is not smaller. O(bytes)."""
        tally, compressor = self._tally, self._compressor
        # A full flush forgets the window (zlib.h): the next message is compressed as the first one.
        compressed = compressor.compress(message) + compressor.flush(zlib.Z_FULL_FLUSH)
        compressed = compressed[: -len(TAIL)]
        tally.compressions += 1
        tally.compressed_bytes += len(message)
        saved = len(message) - len(compressed)
        if saved <= 0:
            return None
        tally.saved_bytes += saved
        return compressed

    def _add(self, dialect: Dialect, message: Encoding, *, binary: bool, from_bytes: int) -> None:
        encoding = DeflatedEncoding(self, dialect.encode, message, binary=binary, from_bytes=from_bytes)
        self._dialects[dialect] = dialect._replace(name=f"{dialect.name}+deflate", encode=encoding)


class DeflatedEncoding:
    """An encoding: a publication as one compressed frame, or as it is where compressing does not pay.

    Args:
        deflater: Compresses.
        plain: The encoding without compression.
        message: Makes what is compressed: the payload of the WebSocket message.
        binary: Whether binary publications are binary messages.
        from_bytes: The least payload of a publication that is compressed.

    Attributes:
        slice_bytes: Payload bytes that one slice of this encoding may have.
    """

    slice_bytes = SLICE_BYTES

    def __init__(
        self, deflater: Deflater, plain: Encoding, message: Encoding, *, binary: bool, from_bytes: int
    ) -> None:
        self._compress = deflater.compress
        self._plain = plain
        self._message = message
        self._binary = binary
        self._from_bytes = from_bytes

    def __call__(self, publication: Publication) -> bytes:
        """Returns the frame. Called once per publication, which keeps the result."""
        if len(publication.payload) >= self._from_bytes:
            message = self._message(publication)
            compressed = self._compress(message) if len(message) <= AT_MOST_BYTES else None
            if compressed is not None:
                binary = self._binary and publication.kind is _BINARY
                return websocket_frame(_BINARY_HEAD if binary else _TEXT_HEAD, compressed)
        return publication.share(self._plain)
