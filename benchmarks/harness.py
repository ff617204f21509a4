"""A broadcaster without a network and without time: the same steps in each run, and clients that obey."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from fanwise.broadcaster.client import Client
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.sink import Message, Received, SinkOwner, Source
from fanwise.core.channel import Channel
from fanwise.core.dialect import PLAIN, Dialect
from fanwise.core.lease import Lease
from fanwise.core.publication import Position
from fanwise.core.reasons import CloseReason

SPARE = 200  # descriptors for everything else
PAGE_BYTES = 4096  # the least that a pipe holds on most machines

Result = TypeVar("Result")


class DescriptorLimitError(OSError):
    """The system does not let this process open as many descriptors as a benchmark asks for."""

    def __init__(self, needed: int, limit: int) -> None:
        super().__init__(needed, limit)
        self.needed = needed
        self.limit = limit

    def __str__(self) -> str:
        return f"needs {self.needed} file descriptors, the hard limit is {self.limit}"


def allow_descriptors(count: int) -> None:
    """Lets this process, and those that it starts, open `count` descriptors.

    Raises:
        DescriptorLimitError: The system does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        raise DescriptorLimitError(count, hard)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@contextmanager
def devnull(count: int) -> Iterator[list[int]]:
    """Opens `count` descriptors that take every write at once and count nothing: the cost left is ours."""
    allow_descriptors(count + SPARE)
    opened = [os.open("/dev/null", os.O_WRONLY) for _ in range(count)]
    try:
        yield opened
    finally:
        for descriptor in opened:
            os.close(descriptor)


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still: no timer ever fires, so that every run takes the same steps."""

    def time(self) -> float:
        """Now, always."""
        return 0.0

    def turn(self) -> None:
        """Runs what is due, once."""
        self.call_soon(self.stop)
        self.run_forever()


def drive(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine that never waits, without an event loop; AssertionError if it does."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    coroutine.close()
    raise AssertionError("the coroutine waits for something")


class Silence:
    """A `sink.Source` in which nothing comes."""

    def __aiter__(self) -> AsyncIterator[Received]:
        return self

    async def __anext__(self) -> Received:
        raise StopAsyncIteration

    def end(self) -> None:
        """It has ended already."""


class TakesAll:
    """A `sink.DirectSink` that takes everything; without a descriptor, sweeps write through it."""

    writable = True
    buffered_bytes = 0
    taken = 0

    def __init__(self, fd: int | None = None) -> None:
        self.lease = Lease(fd)
        self.writes = 0
        self._owner: SinkOwner | None = None

    def attach(self, owner: SinkOwner) -> None:
        self._owner = owner

    def write(self, data: bytes | memoryview) -> None:
        self.writes += 1

    async def send(self, messages: Sequence[Message]) -> None:
        raise AssertionError("a direct sink is written to")

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        self.abort()

    def abort(self) -> None:
        if self._owner is not None:
            self._owner.sink_closed(CloseReason.NORMAL)


class Pipe:
    """A `sink.DirectSink` over a pipe of one page: its peer reads when it is told to, and short writes are certain."""

    def __init__(self) -> None:
        self._end, self.fd = os.pipe2(os.O_NONBLOCK)
        self.lease = Lease(self.fd)
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PAGE_BYTES)
        self._buffer = b""
        self.taken = 0
        self._owner: SinkOwner | None = None

    @property
    def writable(self) -> bool:
        return not self._buffer

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer)

    def attach(self, owner: SinkOwner) -> None:
        self._owner = owner

    def write(self, data: bytes | memoryview) -> None:
        """As a transport does it: what the pipe does not take waits here, and pauses the owner."""
        if self._buffer:
            self._buffer += data
            return
        try:
            taken = os.write(self.fd, data)
        except BlockingIOError:
            taken = 0
        if taken < len(data):
            self._buffer = bytes(data[taken:])
            assert self._owner is not None
            self._owner.sink_paused()

    def read(self) -> int:
        """The peer reads all that is in the pipe, and the buffer follows; returns how many bytes the peer has read."""
        try:
            size = len(os.read(self._end, 1 << 20))
        except BlockingIOError:
            return 0
        if self._buffer:
            self._buffer = self._buffer[os.write(self.fd, self._buffer) :]
            if not self._buffer:
                assert self._owner is not None
                self._owner.sink_resumed()
        return size

    async def send(self, messages: Sequence[Message]) -> None:
        raise AssertionError("a direct sink is written to")

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        self.abort()

    def abort(self) -> None:
        os.close(self.fd)
        os.close(self._end)
        if self._owner is not None:
            self._owner.sink_closed(CloseReason.NORMAL)


class Stage:
    """A broadcaster that has started, on a loop whose clock stands still, and its clients."""

    def __init__(self, loop: StillLoop | None = None, **settings: Any) -> None:
        self.loop = loop or StillLoop()
        self.broadcaster = Node(**{"sweep_seconds": 1e9, "memory_bytes": None, **settings})
        self.loop.run_until_complete(self.broadcaster.__aenter__())
        self._clients: list[AbstractAsyncContextManager[Client]] = []

    def enter(
        self,
        sink: TakesAll | Pipe,
        *,
        channel: str | None = "lobby",
        since: Position | None = None,
        dialect: Dialect = PLAIN,
    ) -> Client:
        """A client that is ready when this returns, if it is on a channel."""
        listen: Callable[[], Source] = Silence
        context = self.broadcaster.client(sink, listen, channel=channel, since=since, dialect=dialect)
        client = self.loop.run_until_complete(context.__aenter__())
        self._clients.append(context)
        while channel is not None and client.state.value != "ready":
            self.loop.turn()
        return client

    def sweep(self, channel: Channel) -> None:
        """Turns the loop until the sweep that is due has come to its end."""
        while channel.unswept:
            self.loop.turn()

    def close(self) -> None:
        """Ends the clients and the broadcaster."""
        for context in self._clients:
            self.loop.run_until_complete(context.__aexit__(None, None, None))
        self.loop.run_until_complete(self.broadcaster.__aexit__())
        self.loop.close()


@contextmanager
def stage(loop: StillLoop | None = None, **settings: Any) -> Iterator[Stage]:
    """A stage for as long as the context lasts, on `loop` if that is given."""
    place = Stage(loop, **settings)
    try:
        yield place
    finally:
        place.close()
