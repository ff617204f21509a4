"""A server in this process, with clients that have no socket."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf
from typing import Any, Protocol

import orjson

from fanwise import Broadcaster
from fanwise.backplane.options import Options
from fanwise.backplane.redis.shard import Shard
from fanwise.backplane.urls import backplane_from
from fanwise.core.dialect import JSON
from fanwise.core.publication import Position
from fanwise.core.reasons import CloseReason
from fanwise.transport.inbox import Inbox

from ...support.fakes import FakeSink
from .reader import Reader


class Worker(Protocol):
    """A server of the fleet."""

    name: str

    async def publish(self, channel: str, body: str) -> Position:
        """Raises BackplaneDownError, UnconfirmedError, and ConnectionError where the server has gone."""

    def connection(self, reader: Reader) -> AbstractAsyncContextManager[Any]:
        """The reader is connected while the context lasts, or until `reader.ended`. Raises as `publish` does."""

    async def stop(self) -> None: ...


class ReaderSink(FakeSink):
    """Hands on what it is sent, while it is connected."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader
        self.connected = True

    def write(self, data: bytes | memoryview) -> None:
        if self.connected:
            for message in messages_in(bytes(data)):
                self._reader.hear(message)

    def end(self, reason: CloseReason) -> None:
        self.connected = False
        self._reader.ended.set()
        super().end(reason)


def messages_in(data: bytes) -> list[dict[str, Any]]:
    """The JSON of text frames from a server (RFC 6455 section 5.2), which are whole and below 64 KiB."""
    found, begin = [], 0
    while begin < len(data):
        size = data[begin + 1]
        begin += 2
        if size == 126:
            size, begin = int.from_bytes(data[begin : begin + 2]), begin + 2
        found.append(orjson.loads(data[begin : begin + size]))
        begin += size
    return found


class LocalWorker:
    """A broadcaster on this loop."""

    def __init__(self, name: str, url: str, options: Options) -> None:
        self.name = name
        self.backplane = backplane_from(url, options)
        bounds: dict[str, Any] = {
            "history_messages": options.history_messages,
            "queue_messages": 20_000,
            "ready_lag_seconds": inf,
        }
        self.broadcaster = Broadcaster(backplane=self.backplane, sweep="write", **bounds)
        self.slowest_seconds = 0.0  # of the acknowledgements
        self.sinks: set[ReaderSink] = set()

    async def start(self) -> None:
        await self.broadcaster.__aenter__()

    async def stop(self) -> None:
        await self.broadcaster.__aexit__(None, None, None)

    async def publish(self, channel: str, body: str) -> Position:
        begin = time.monotonic()
        publication = await self.broadcaster.publish(channel, body)
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begin)
        return publication.position

    @asynccontextmanager
    async def connection(self, reader: Reader) -> AsyncIterator[ReaderSink]:
        sink = ReaderSink(reader)
        inbox = Inbox(pause=lambda: None, resume=lambda: None)
        since = reader.connecting(self.name)
        async with self.broadcaster.client(sink, lambda: inbox, channel=reader.channel, since=since, dialect=JSON):
            self.sinks.add(sink)
            try:
                yield sink
            finally:
                sink.connected = False  # what is sent from now on is lost on the way
                self.sinks.discard(sink)

    def shard(self) -> Shard:
        shards: list[Shard] = vars(self.backplane)["_shards"]
        return shards[0]
