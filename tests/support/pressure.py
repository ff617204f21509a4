"""Clients that put a server under pressure, on real sockets: they stall, read slowly, vanish, or publish in bursts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fanwise import Broadcaster

from .live import Live


class ReadingClient(asyncio.Protocol):
    """Reads as fast as it can and keeps what it got: for many clients and many bytes."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data

    @classmethod
    @asynccontextmanager
    async def connected(cls, live: Live, path: str = "/ws") -> AsyncIterator[ReadingClient]:
        sock = await live.raw(path)
        transport, client = await asyncio.get_running_loop().create_connection(cls, sock=sock)
        yield client
        transport.abort()


@asynccontextmanager
async def stalled_client(live: Live, path: str = "/ws") -> AsyncIterator[socket.socket]:
    """Connects and never reads: the smallest buffer that the kernel gives is all that it takes."""
    sock = await live.raw(path, receive_buffer=4096)
    with sock:
        yield sock


@asynccontextmanager
async def slow_client(live: Live, *, bytes_per_second: int, path: str = "/ws") -> AsyncIterator[bytearray]:
    """Reads so many bytes per second, ten times a second; gives what it has read so far."""
    received = bytearray()
    loop = asyncio.get_running_loop()

    async def read(sock: socket.socket) -> None:
        share = max(1, bytes_per_second // 10)
        while True:
            received.extend(await loop.sock_recv(sock, share))
            await asyncio.sleep(0.1)

    async with stalled_client(live, path) as sock:
        task = asyncio.create_task(read(sock))
        yield received
        task.cancel()
        await asyncio.wait({task})


async def vanishing_client(live: Live, path: str = "/ws") -> None:
    """Connects, and is gone without a word."""
    sock = await live.raw(path)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()


async def burst_publisher(broadcaster: Broadcaster, channel: str, messages: int, *, size: int = 100) -> bytes:
    """Publishes so many messages as fast as `publish` lets it; returns the frames that each client should get."""
    frames = bytearray()
    for number in range(messages):
        text = f"{number:08}".ljust(size, "x")
        await broadcaster.publish(channel, text)
        frames += (b"\x81%c" % size if size < 126 else b"\x81\x7e" + size.to_bytes(2)) + text.encode()
    return bytes(frames)
