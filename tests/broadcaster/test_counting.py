"""What is counted against what has happened: whatever clients do, nothing is counted twice and nothing is left out."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fanwise.broadcaster.client import Client
from fanwise.broadcaster.node import Node
from fanwise.core.hub import Hub, Start
from fanwise.core.publication import Position
from fanwise.core.queue import Queue
from fanwise.core.reasons import CloseReason
from fanwise.errors import AlreadySubscribedError, ChannelLimitError, GoneError
from fanwise.transport.inbox import Inbox

from ..support.fakes import AwaitedSink, FakeSink

pytestmark = pytest.mark.anyio

STEPS = 300
NAMES = "abcdef"


class CountingHub(Hub):
    """Remembers each queue, from where it began to where it ended."""

    begun: dict[Queue, int]  # {queue: its first cursor}

    def subscribe(self, name: str, *wanted: Any, **named: Any) -> Start:
        start = super().subscribe(name, *wanted, **named)
        self.begun[start.queue] = start.queue.cursor
        return start


class World:
    """Clients that come, go, are paused and are closed, while somebody publishes."""

    def __init__(self, seed: int, policy: str, *, awaited: bool) -> None:
        self.random = random.Random(seed)
        self.awaited = awaited
        self.clients: list[tuple[Client, FakeSink | AwaitedSink]] = []
        self.broadcaster = Node(
            queue_messages=20,
            queue_bytes=3000,
            history_messages=20,
            history_bytes=3000,
            overflow=policy,
            stall_seconds=0.05,
            memory_bytes=self.random.choice([None, 9000, 40_000]),
            max_channels=4,
            slice_bytes=500,
            cohort_clients=3,
            close_seconds=0.05,
            sweep_seconds=self.random.choice([0.003, 0.00001]),
            max_message_bytes=1000,
        )
        hub = self.broadcaster._hub
        hub.__class__ = CountingHub
        assert isinstance(hub, CountingHub)
        hub.begun = {}
        self.hub = hub

    async def play(self) -> None:
        async with self.broadcaster, AsyncExitStack() as stack:
            for _ in range(STEPS):
                await self.step(stack)
                self.check()
            for _, sink in self.clients:
                if isinstance(sink, AwaitedSink):
                    sink.gate.set()
        self.check()
        assert len(self.broadcaster) == 0
        self.check_the_end()

    async def step(self, stack: AsyncExitStack) -> None:
        choice = self.random.random()
        try:
            if choice < 0.1 and len(self.clients) < 12:
                await self.enter(stack)
            elif choice < 0.35 and self.clients:
                self.change(*self.random.choice(self.clients))
            elif choice < 0.45:
                await asyncio.sleep(0)
            else:
                await self.publish()
        except (ChannelLimitError, GoneError, AlreadySubscribedError):
            return

    async def enter(self, stack: AsyncExitStack) -> None:
        sink = AwaitedSink() if self.awaited and self.random.random() < 0.5 else FakeSink()
        inbox = Inbox(pause=lambda: None, resume=lambda: None)
        name = self.random.choice(NAMES)
        context = self.broadcaster.client(sink, lambda: inbox, channel=name, since=self.position(name))
        self.clients.append((await stack.enter_async_context(context), sink))

    def position(self, name: str) -> Position | None:
        channel = self.hub.find(name)
        if self.random.random() < 0.5 or channel is None:
            return None
        epoch = channel.log.epoch if self.random.random() < 0.7 else "another"
        return Position(epoch, self.random.randrange(40))

    def change(self, client: Client, sink: FakeSink | AwaitedSink) -> None:
        choice = self.random.random()
        if choice < 0.2:
            name = self.random.choice(NAMES)
            self.broadcaster.subscribe(client, name, since=self.position(name))
        elif choice < 0.3 and client.subscriptions:
            self.broadcaster.unsubscribe(client, self.random.choice(list(client.subscriptions)))
        elif choice < 0.85:
            self.toggle(client, sink)
        elif choice < 0.9:
            client.close(self.random.choice(list(CloseReason)))
        elif choice < 0.95:
            client.abort(CloseReason.OPERATOR)
        elif client.reason is None:
            sink.end(CloseReason.LOST)

    def toggle(self, client: Client, sink: FakeSink | AwaitedSink) -> None:
        if isinstance(sink, AwaitedSink):
            sink.gate.clear() if sink.gate.is_set() else sink.gate.set()
        elif client.reason is None:
            sink.pause(buffered_bytes=self.random.randrange(1, 3000)) if sink.writable else sink.resume()

    async def publish(self) -> None:
        for _ in range(self.random.choice([1, 1, 2, 10, 60])):
            payload = b"x" * self.random.randrange(200)
            self.broadcaster.publish_nowait(self.random.choice(NAMES[:4]), payload, key=self.random.choice("kl"))
        await asyncio.sleep(0)

    def check(self) -> None:
        tally = self.broadcaster.tally
        for name, histogram in tally.histograms().items():
            assert min(histogram.counts) >= 0, name
        assert tally.peak_lag.count == len(self.hub.begun)
        assert tally.connections - sum(tally.closed.values()) == len(self.broadcaster)
        assert tally.age.count == tally.deliveries

    def check_the_end(self) -> None:
        """Each queue has gone from its first cursor to its last: all in between was given, or is a gap.

        But for what was in hand when a client went, which counts as dropped with it.
        """
        tally = self.broadcaster.tally
        given = sum(got(sink) for _, sink in self.clients)
        assert tally.deliveries == given
        gone = sum(queue.cursor - first for queue, first in self.hub.begun.items())
        in_flight = gone - given - tally.dropped["gap_slow"]
        left = sum(farewell.lag for farewell in self.broadcaster.inspect.closed())
        assert 0 <= in_flight <= (left if self.awaited else 0)


def got(sink: FakeSink | AwaitedSink) -> int:
    """How many publications it was given: each a frame (RFC 6455 section 5.2), where it takes bytes."""
    if isinstance(sink, AwaitedSink):
        return len(sink.sent)
    data, frames = b"".join(sink.written), 0
    while data:
        size = data[1] if data[1] < 126 else 2 + int.from_bytes(data[2:4])
        data, frames = data[2 + size :], frames + 1
    return frames


@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "latest"])
@pytest.mark.parametrize("awaited", [False, True], ids=["direct", "also awaited"])
@pytest.mark.parametrize("seed", range(4))
async def test_what_is_counted_has_happened(seed: int, policy: str, awaited: bool) -> None:
    """Deliveries and gaps together are what the cursors have gone; every histogram stays one; everybody is counted."""
    await World(seed, policy, awaited=awaited).play()
