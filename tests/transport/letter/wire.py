"""Frames as bytes (RFC 6455 section 5.2), made and read without the library that the server uses."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Sequence

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"  # of the examples in section 5.7


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = MASK, length_bytes: int = 0
) -> bytes:
    """A frame as clients send it. `length_bytes` asks for 2 or 8 bytes of length where fewer would do."""
    size = len(payload)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    masked = 0x80 if mask else 0
    if length_bytes == 8 or size > 0xFFFF:
        head += struct.pack("!BQ", masked | 127, size)
    elif length_bytes == 2 or size > 125:
        head += struct.pack("!BH", masked | 126, size)
    else:
        head += bytes([masked | size])
    if not mask:
        return head + payload
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason)


def fragments(opcode: int, payloads: Sequence[bytes], *, ended: bool = True) -> list[bytes]:
    """A message of which the last fragment is `ended` or not."""
    last = len(payloads) - 1
    return [
        frame(CONTINUATION if at else opcode, payload, fin=ended and at == last) for at, payload in enumerate(payloads)
    ]


async def say(writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
    """Sends the pieces one by one, as long as the server has not closed the connection."""
    for piece in pieces:
        if writer.transport.is_closing():
            return
        writer.write(piece)
        await asyncio.sleep(0)


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(opcode, payload) of the next frame of a server; of a close frame the code alone.

    Raises:
        asyncio.IncompleteReadError: The connection has ended.
    """
    head, length = await reader.readexactly(2)
    assert head & 0xF0 == 0x80, f"a server that fragments, or uses reserved bits: {head:#x}"
    assert length < 0x80, "a server masks nothing"
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8))
    payload = await reader.readexactly(length)
    opcode = head & 0x0F
    return opcode, payload[:2] if opcode == CLOSE else payload


async def read_to_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[tuple[int, bytes]]:
    """All frames up to the end of the connection. As clients do, sends nothing more behind a close frame."""
    frames = []
    try:
        while True:
            frames.append(await read_frame(reader))
            if frames[-1][0] == CLOSE and not writer.transport.is_closing():
                writer.write_eof()
    except (asyncio.IncompleteReadError, OSError):
        return frames


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def joined(frames: Iterable[bytes]) -> list[bytes]:
    return [b"".join(frames)]
