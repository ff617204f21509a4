"""A TCP relay in front of a real server that cuts connections at random bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random


class Cutter:
    """Cuts each connection after a random number of bytes in either direction, until it is told to be reliable."""

    def __init__(self, seed: int, target: int) -> None:
        self.random = Random(seed)
        self.port = 0
        self.cuts = 0
        self.reliable = False
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._target)
        both = (writer, their_writer)
        self._writers.update(both)
        up = asyncio.create_task(self._relay(reader, their_writer, self.random.randint(300, 8000)))
        down = asyncio.create_task(self._relay(their_reader, writer, self.random.randint(300, 8000)))
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        for task in (up, down):
            task.cancel()
        for end in both:
            end.transport.abort()
        self._writers.difference_update(both)

    def end(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                if not self.reliable:
                    data = data[:left]
                    left -= len(data)
                writer.write(data)
                await writer.drain()
                if left <= 0:
                    self.cuts += 1
                    return


@asynccontextmanager
async def cutting(seed: int, target: int) -> AsyncIterator[Cutter]:
    """A relay on a free port to port `target`."""
    cutter = Cutter(seed, target)
    server = await asyncio.start_server(cutter.handle, "127.0.0.1", 0)
    cutter.port = server.sockets[0].getsockname()[1]
    try:
        yield cutter
    finally:
        server.close()
        cutter.end()
        await server.wait_closed()
