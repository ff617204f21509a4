"""RFC 6455 from the client's side, as little of it as a load generator needs; no I/O."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import NamedTuple
from urllib.parse import SplitResult

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_SHORT, _LONG = 126, 127  # lengths that say that the length follows, in 2 or 8 bytes (section 5.2)


class Frame(NamedTuple):
    """A whole frame in a buffer: `payload` and `stop` are offsets into it."""

    final: bool
    opcode: int
    payload: int
    stop: int


class ProtocolViolation(Exception):  # noqa: N818 - never leaves the generator: it becomes a cause of a drop
    """The server sent what no server may send to a client that offered no extension."""


def next_frame(data: bytes | bytearray, start: int, max_bytes: int) -> Frame | None:
    """Returns the frame that begins at `start`; None while the frame is incomplete (RFC 6455 section 5.2).

    Raises:
        ProtocolViolation: Reserved bits, a mask, or a frame longer than `max_bytes`.
    """
    have = len(data) - start
    if have < 2:  # noqa: PLR2004 - the least header
        return None
    first, length = data[start], data[start + 1]
    if first & 0x70 or length & 0x80:
        raise ProtocolViolation
    payload = start + 2
    if length >= _SHORT:
        wide = 2 if length == _SHORT else 8
        if have < 2 + wide:
            return None
        length = int.from_bytes(data[payload : payload + wide], "big")
        payload += wide
    if length > max_bytes:
        raise ProtocolViolation
    stop = payload + length
    return Frame(bool(first & 0x80), first & 15, payload, stop) if stop <= len(data) else None


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame with a fresh mask (RFC 6455 section 5.3)."""
    size = len(payload)
    if size < _SHORT:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | _SHORT)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | _LONG)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    repeated = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return head + mask + masked.to_bytes(size, "little")


def close_code(payload: bytes) -> int:
    """Returns the code of a close frame: 1005 without one (RFC 6455 section 7.1.5)."""
    return int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005  # noqa: PLR2004 - the code's two bytes


class Handshake:
    """The opening of all connections to one URL: one random key serves them all (RFC 6455 section 4.1).

    Args:
        headers: More lines for the request, each "Name: value".
    """

    def __init__(self, url: SplitResult, *, subprotocol: str | None, headers: tuple[str, ...] = ()) -> None:
        key = base64.b64encode(os.urandom(16))
        self._accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        wanted = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        more = "".join(f"{header}\r\n" for header in headers)
        self.request = (
            f"GET {target} HTTP/1.1\r\nHost: {url.netloc.rpartition('@')[2]}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"{wanted}{more}\r\n"
        ).encode()

    def refusal(self, answer: bytes) -> str | None:
        """Returns why the server's answer (all of its head) opens no connection; None if it does."""
        status, _, headers = answer.partition(b"\r\n")
        if not status.startswith(b"HTTP/1.1 101"):
            return f"the server answered {status[:80].decode(errors='replace')!r} instead of 101"
        accepts = [
            line.partition(b":")[2].strip()
            for line in headers.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-accept:")
        ]
        return None if accepts == [self._accept] else "the server's Sec-WebSocket-Accept does not fit the key"
