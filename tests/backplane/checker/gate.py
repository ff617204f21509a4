"""What is between a worker and the engine: passes bytes on, holds them, cuts, and loses subscriptions."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast


class _End(asyncio.Protocol):
    """One end of a connection through the gate; `other` is its counterpart."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.transport: asyncio.Transport | None = None
        self.other = self  # until the pair is made
        self.waiting: list[bytes] = []  # for this end
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.flush()
        if self.other.gone:
            self.pair.ended(self.other)

    def data_received(self, data: bytes) -> None:
        if self is self.pair.worker:
            self.pair.gate.passes(self.pair, data)
        self.other.waiting.append(data)
        self.other.flush()
        if self is self.pair.worker:
            self.pair.gate.passed(self.pair, data)

    def flush(self) -> None:
        if self.transport is not None and not self.pair.held:
            waiting, self.waiting = self.waiting, []
            for data in waiting:
                self.transport.write(data)

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport, self.gone = None, True
        self.pair.ended(self)


class Pair:
    """A connection of a worker, and the one to the engine behind it.

    What the gate holds stays on its way when an end has gone, as with the packets of a network: it arrives later.
    """

    def __init__(self, gate: Gate, *, held: bool) -> None:
        self.gate = gate
        self.held = held
        self.worker, self.engine = _End(self), _End(self)
        self.worker.other, self.engine.other = self.engine, self.worker

    def ended(self, end: _End) -> None:
        if self.held:
            return
        end.other.flush()
        if end.other.transport is not None:
            end.other.transport.close()
        if self in self.gate.pairs:
            self.gate.pairs.remove(self)

    def cut(self) -> None:
        """The worker's end breaks at once; what it has sent arrives."""
        if self.worker.transport is not None:
            self.worker.transport.abort()

    def released(self) -> None:
        """What was held goes on; then the end whose counterpart has gone meanwhile is closed."""
        self.held = False
        for end in (self.worker, self.engine):
            end.flush()
        for end in (self.worker, self.engine):
            if end.gone:
                self.ended(end)


class Gate:
    """Listens on a socket of its own, at `url`.

    Args:
        url: Where it listens.
        target: Where new connections lead to: a Unix socket, or a port of this machine.
        is_frame: Whether bytes that a worker has sent are publications.
        deafening: What a worker would send to be told of nothing any more.

    Attributes:
        target: As above.
        holding: Whether what new connections send stays on its way, in both directions, for now.
        refusing: Whether new connections are reset.
        on_frame: Called when a frame of publications has passed; None for nothing.
        before_frame: Called when one is about to pass; None for nothing.
        frames: How many have passed, or are held.
        pairs: The connections.
    """

    def __init__(
        self,
        url: str,
        target: Path | int,
        *,
        is_frame: Callable[[bytes], bool] = lambda _: False,
        deafening: bytes = b"*1\r\n$11\r\nUNSUBSCRIBE\r\n",
    ) -> None:
        self.url = url
        self.target = target
        self.deafening = deafening
        self.holding = False
        self.refusing = False
        self.on_frame: Callable[[Pair], None] | None = None
        self.before_frame: Callable[[Pair], None] | None = None
        self.frames = 0
        self.pairs: list[Pair] = []
        self._is_frame = is_frame
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self) -> _End:
        """A worker connects."""
        pair = Pair(self, held=self.holding)
        self.pairs.append(pair)
        task = asyncio.get_running_loop().create_task(self._join(pair))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return pair.worker

    async def _join(self, pair: Pair) -> None:
        try:
            if self.refusing:
                raise ConnectionResetError
            loop = asyncio.get_running_loop()
            if isinstance(self.target, Path):
                await loop.create_unix_connection(lambda: pair.engine, str(self.target))
            else:
                await loop.create_connection(lambda: pair.engine, "127.0.0.1", self.target)
        except OSError:
            pair.cut()

    def passes(self, pair: Pair, data: bytes) -> None:
        if self._is_frame(data):
            self.frames += 1
            if self.before_frame is not None:
                self.before_frame(pair)

    def passed(self, pair: Pair, data: bytes) -> None:
        if self.on_frame is not None and self._is_frame(data):
            self.on_frame(pair)

    def hold(self, *, new: bool = True) -> None:
        """Swallows what is sent, in both directions, as a network does that is cut in two; on `new` connections too."""
        self.holding = new
        for pair in self.pairs:
            pair.held = True

    def release(self) -> None:
        """What was held arrives, also of connections that were given up meanwhile."""
        self.holding = False
        for pair in list(self.pairs):
            pair.released()

    def cut(self) -> None:
        """All connections break."""
        for pair in list(self.pairs):
            pair.cut()

    def refuse(self, *, refusing: bool) -> None:
        """Resets all connections, and new ones while this lasts."""
        self.refusing = refusing
        if refusing:
            self.cut()

    def deafen(self) -> None:
        """Takes the worker's subscription away, as if the engine had lost it."""
        for pair in self.pairs:
            if pair.engine.transport is not None:
                pair.engine.transport.write(self.deafening)

    def hear_again(self, channel: str) -> None:
        """Gives the worker a subscription, which it has not asked for."""
        for pair in self.pairs:
            if pair.engine.transport is not None:
                pair.engine.transport.write(f"*2\r\n$9\r\nSUBSCRIBE\r\n${len(channel)}\r\n{channel}\r\n".encode())

    async def shut(self) -> None:
        self.release()
        self.refuse(refusing=True)
        for pair in list(self.pairs):
            if pair.engine.transport is not None:
                pair.engine.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)


@asynccontextmanager
async def gate(path: Path, target: Path, *, is_frame: Callable[[bytes], bool] = lambda _: False) -> AsyncIterator[Gate]:
    """A gate for as long as the context lasts."""
    found = Gate(f"unix://{path}", target, is_frame=is_frame)
    server = await asyncio.get_running_loop().create_unix_server(found.accept, str(path))
    try:
        yield found
    finally:
        server.close()
        await found.shut()
        await server.wait_closed()


@asynccontextmanager
async def nats_gate(target: int) -> AsyncIterator[Gate]:
    """A gate on a port of its own, before a NATS server."""
    found = Gate("", target, is_frame=lambda data: b"Nats-Expected-Last" in data, deafening=b"UNSUB 2\r\n")
    server = await asyncio.get_running_loop().create_server(found.accept, "127.0.0.1", 0)
    found.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        await found.shut()
        await server.wait_closed()


@asynccontextmanager
async def tls_gate(target: Path, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port of this machine on which TLS ends: what is behind it is the engine. Yields the port."""
    found = Gate("", target)
    server = await asyncio.get_running_loop().create_server(found.accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await found.shut()
        await server.wait_closed()
