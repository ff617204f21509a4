"""A TCP relay in front of a real server, which cuts connections: at random bytes, or all of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Self, TypeAlias

from .background import background

_End: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"
_NO_LINGER = struct.pack("ii", 1, 0)  # the end is a RST, whatever is still on its way


class Relay:
    """Passes bytes on to a port of this machine and back.

    Attributes:
        random: Draws after how many bytes a connection is cut, in either direction; None: after none.
        cuts: How many were cut so.
        reliable: Whether no more are.
    """

    def __init__(self, target: int, random: Random | None) -> None:
        self.random = random
        self.port = 0
        self.cuts = 0
        self.reliable = random is None
        self._target = target
        self._down = False
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes a connection's bytes on until one of its ends has left or is cut."""
        ends = {writer}
        try:
            if self._down:
                return
            their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._target)
            ends.add(their_writer)
            self._writers |= ends
            if not self._down:  # which it may have become since the connection was accepted
                await self._join((reader, writer), (their_reader, their_writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _join(self, one: _End, other: _End) -> None:
        """Returns when bytes can no longer be passed on in one of the two directions."""
        for _, writer in (one, other):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        both = [
            asyncio.create_task(self._pass_on(source[0], target[1], self._bytes_left()))
            for source, target in ((one, other), (other, one))
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()

    def _bytes_left(self) -> int:
        return self.random.randint(300, 8000) if self.random is not None else 0

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                if not self.reliable:
                    data = data[:left]
                    left -= len(data)
                writer.write(data)
                await writer.drain()
                if left <= 0 and not self.reliable:
                    self.cuts += 1
                    return

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def switch(self, *, down: bool) -> None:
        """Cuts every connection, and each new one while it is down."""
        self._down = down
        self.cut()


@asynccontextmanager
async def relaying(target: int, random: Random | None = None) -> AsyncIterator[Relay]:
    """A relay on a free port to port `target`."""
    relay = Relay(target, random)
    server = await asyncio.start_server(relay.handle, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await relay.switch(down=True)
        await server.wait_closed()


class Proxy:
    """A relay in a thread of its own."""

    def __init__(self, target: int) -> None:
        self._context = background(relaying(target))

    def __enter__(self) -> Self:
        self._relay, self._run = self._context.__enter__()
        self.port = self._relay.port
        return self

    def __exit__(self, *exc: object) -> None:
        self._context.__exit__(None, None, None)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Cuts every connection, and each new one, while the context lasts."""
        self._run(self._relay.switch(down=True))
        yield
        self._run(self._relay.switch(down=False))
