"""Encodings: functions that make a publication's bytes for one kind of client, once per publication.

They stay free of I/O: the `websockets` library serialises the frame, nothing here sends it.
"""

from __future__ import annotations

from collections.abc import Iterable

from websockets.frames import Frame, Opcode

from .publication import Encoding, Publication


def plain_frame(publication: Publication) -> bytes:
    """The payload as one unmasked, unfragmented, uncompressed WebSocket frame (RFC 6455 section 5.2)."""
    opcode = Opcode.BINARY if publication.binary else Opcode.TEXT
    return Frame(opcode, publication.payload).serialize(mask=False)


def join(publications: Iterable[Publication], encoding: Encoding) -> bytes:
    """The bytes of `publications` one after the other: a slice that one write can carry. O(bytes)."""
    return b"".join([publication.encoded(encoding) for publication in publications])
