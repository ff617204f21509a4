"""Resuming against what was published: nothing is lost in silence, nothing comes twice, whatever happens between."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fanwise.broadcaster.client import Client, State
from fanwise.broadcaster.outbox import Outbox
from fanwise.broadcaster.sweep import Sweeper
from fanwise.core.dialect import JSON
from fanwise.core.hub import Hub
from fanwise.core.publication import Kind, Position
from fanwise.core.queue import Overflow
from fanwise.core.reasons import CloseReason
from fanwise.transport.inbox import Inbox

from ..support.fakes import FakeSink
from .test_client import make_host


class Line(FakeSink):
    """A sink whose peer gets what is written while it is open, and later what is written while it is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = bytearray()
        self.waiting = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        (self.arrived if self.writable else self.waiting).extend(data)

    def resume(self) -> None:
        self.arrived += self.waiting
        self.waiting.clear()
        super().resume()


class Consumer:
    """Keeps its position over any number of connections, and checks all that it is told against it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.position: Position | None = None
        self.line: Line | None = None
        self.client: Client | None = None
        self.writer: asyncio.Task[None] | None = None
        self.owed_gap = False  # whether a gap has to come next
        self.first = 1  # what the log retained when the connection began

    def connect(self) -> None:
        channel = self.world.hub.find("lobby")
        self.first = channel.log.first if channel is not None else 1
        self.line = Line()
        outbox = Outbox(self.line, JSON)
        self.client = Client(
            "1",
            address="",
            outbox=outbox,
            listen=lambda: Inbox(pause=lambda: None, resume=lambda: None),
            close_seconds=1.0,
            owner=self.world.host,
        )
        self.client.begin(self.world.hub.subscribe("lobby", since=self.position, time=self.world.time))
        self.line.attach(self.client)
        self.client.start()

    def disconnect(self, lost: int) -> None:
        """The last `lost` bytes that were on their way never arrive."""
        assert self.line is not None
        del self.line.arrived[max(0, len(self.line.arrived) - lost) :]
        self.hear()
        self.line.end(CloseReason.LOST)
        self.line = None

    def hear(self) -> None:
        """Understands the whole frames that have arrived."""
        assert self.line is not None
        arrived = self.line.arrived
        while len(arrived) >= 2:
            begin, size = (2, arrived[1]) if arrived[1] < 126 else (4, int.from_bytes(arrived[2:4]))
            if len(arrived) < begin + size:
                return
            self.understand(json.loads(arrived[begin : begin + size]))
            del arrived[: begin + size]

    def understand(self, told: dict[str, Any]) -> None:
        if told["op"] == "subscribed":
            begin = Position(told["epoch"], told["offset"])
            assert told["recovered"] <= (self.position == begin)
            self.owed_gap = self.position is not None and not told["recovered"]
            if self.position is not None and begin.epoch == self.position.epoch:
                assert begin == self.position
            self.position = begin
            return
        assert self.position is not None
        epoch, offset = self.position
        if told["op"] == "gap":
            assert (told["epoch"], told["from"]) == (epoch, offset + 1)
            assert told["to"] > offset or told["reason"] == "epoch"
            assert told["reason"] == "slow" or told["to"] == self.first - 1
            self.position = Position(epoch, told["to"])
            self.owed_gap = False
        else:
            assert not self.owed_gap
            assert told["offset"] == offset + 1
            assert told["data"] == self.world.published[epoch][offset]
            self.position = Position(epoch, offset + 1)


class World(RuleBasedStateMachine):
    """Publishes, disconnects, resumes, trims, forgets and reads slowly, in any order."""

    @initialize(
        overflow=st.sampled_from(Overflow), queue_messages=st.integers(1, 8), history_messages=st.integers(1, 30)
    )
    def begin(self, overflow: Overflow, queue_messages: int, history_messages: int) -> None:
        self.hub = Hub(
            queue_messages=queue_messages,
            queue_bytes=100_000,
            history_messages=history_messages,
            history_bytes=100_000,
            history_seconds=1000.0,
            cohort_clients=2,
            overflow=overflow,
        )
        self.time = 0.0
        self.loop = asyncio.new_event_loop()
        self.host = make_host(self.loop, self.hub)
        self.host.changed = self.changed
        self.sweeper = Sweeper(self.loop, slice_bytes=50, sweep_seconds=1.0)
        self.published: dict[str, list[str]] = {}  # {epoch: payloads}
        self.consumers = [Consumer(self) for _ in range(3)]
        for consumer in self.consumers:
            consumer.connect()

    def changed(self, client: Client) -> None:
        if client.state in (State.CLOSING, State.CLOSED):
            for channel, queue in client.subscriptions.values():
                self.hub.unsubscribe(channel, queue, time=self.time)

    def turn(self) -> None:
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def consumer(self, data: st.DataObject, *, connected: bool) -> Consumer | None:
        some = [consumer for consumer in self.consumers if (consumer.line is not None) is connected]
        return data.draw(st.sampled_from(some)) if some else None

    @rule(size=st.integers(0, 40), count=st.integers(1, 12), turn=st.booleans())
    def publish(self, size: int, count: int, turn: bool) -> None:
        for _ in range(count):
            channel = self.hub.channel("lobby", time=self.time)
            if channel.crowded(messages=self.hub.queue_messages, size_bytes=100_000):
                self.sweeper.flush(channel)  # as the broadcaster does
            payloads = self.published.setdefault(channel.log.epoch, [])
            payloads.append(f"{len(payloads) + 1}".ljust(size, "x"))
            self.hub.publish(channel, payloads[-1].encode(), kind=Kind.TEXT, time=self.time)
            self.sweeper.schedule(channel)
        if turn:
            self.turn()

    @rule(data=st.data(), lost=st.integers(0, 200))
    def disconnect(self, data: st.DataObject, lost: int) -> None:
        consumer = self.consumer(data, connected=True)
        if consumer is not None:
            consumer.disconnect(lost)

    @rule(lost=st.integers(0, 80), missed=st.integers(0, 12), kept=st.integers(1, 20), turn=st.booleans())
    def all_come_back(self, lost: int, missed: int, kept: int, turn: bool) -> None:
        """After so many publications, to a log that retains so many."""
        for consumer in self.consumers:
            if consumer.line is not None:
                consumer.disconnect(lost)
        if missed:
            self.publish(size=9, count=missed, turn=turn)
        self.trim(kept)
        for consumer in self.consumers:
            consumer.connect()

    @rule(lost=st.integers(0, 80), missed=st.integers(0, 12), kept=st.integers(1, 20))
    def all_come_back_to_another_log(self, lost: int, missed: int, kept: int) -> None:
        for consumer in self.consumers:
            if consumer.line is not None:
                consumer.disconnect(lost)
        self.time += 2000.0
        self.hub.retention.expire(self.time)
        assert self.hub.find("lobby") is None
        self.all_come_back(lost=0, missed=missed, kept=kept, turn=False)

    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        consumer = self.consumer(data, connected=True)
        if consumer is not None and consumer.line is not None and consumer.line.writable:
            consumer.line.pause()

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        consumer = self.consumer(data, connected=True)
        if consumer is not None and consumer.line is not None and not consumer.line.writable:
            consumer.line.resume()

    @rule()
    def turn_the_loop(self) -> None:
        self.turn()

    @rule(kept=st.integers(1, 20))
    def trim(self, kept: int) -> None:
        channel = self.hub.find("lobby")
        if channel is not None:
            channel.log.trim(max_messages=max(kept, channel.unswept), max_bytes=1 << 30)
            self.hub.retention.trim(self.time)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for _ in range(5):  # who is closed for being slow comes back once more
            for consumer in self.consumers:
                self.catch_up(consumer)
        channel = self.hub.find("lobby")
        for consumer in self.consumers:
            assert channel is not None
            assert consumer.position == Position(channel.log.epoch, channel.log.head)
            assert not consumer.owed_gap
        for consumer in self.consumers:
            if consumer.line is not None:
                consumer.disconnect(0)
        self.turn()
        self.loop.close()

    def catch_up(self, consumer: Consumer) -> None:
        if consumer.line is not None and consumer.client is not None and consumer.client.state is State.CLOSED:
            consumer.hear()
            consumer.line = None
        if consumer.line is None:
            consumer.connect()
        assert consumer.line is not None
        if not consumer.line.writable and consumer.client is not None and consumer.client.state is not State.CLOSED:
            consumer.line.resume()
        arrived, quiet = consumer.line.arrived, 0
        while quiet < 3:  # turns of the loop in which nothing more has come
            before = len(arrived)
            self.turn()
            quiet = quiet + 1 if len(arrived) == before else 0
        consumer.hear()


TestWorld = World.TestCase
TestWorld.settings = settings(stateful_step_count=30, deadline=None)  # as many examples as the profile says
