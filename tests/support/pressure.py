"""Readers of many bytes on the test's own event loop: they keep frames as they are, and take little time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fanwise import Broadcaster

from .live import Live


class QuickReader(asyncio.Protocol):
    """Reads as fast as it can and keeps what it got: for many clients and many messages."""

    def __init__(self) -> None:
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += data

    @classmethod
    @asynccontextmanager
    async def connected(cls, live: Live, path: str = "/ws") -> AsyncIterator[QuickReader]:
        sock = await live.raw(path)
        transport, client = await asyncio.get_running_loop().create_connection(cls, sock=sock)
        yield client
        transport.abort()


async def quick_burst(broadcaster: Broadcaster, messages: int, *, size: int = 100) -> bytes:
    """Publishes so many texts to the lobby, and returns the frames that each client should get."""
    frames = bytearray()
    for number in range(messages):
        text = f"{number:08}".ljust(size, "x")
        await broadcaster.publish("lobby", text)
        frames += (b"\x81%c" % size if size < 126 else b"\x81\x7e" + size.to_bytes(2)) + text.encode()
    return bytes(frames)
