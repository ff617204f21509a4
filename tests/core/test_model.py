"""The synchronous core against a plain list: no loss, no duplicate, no reordering, and each skipped range told once."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fanwise.broadcaster.sweep import Sweeper
from fanwise.core.encoding import plain_frame
from fanwise.core.hub import Hub
from fanwise.core.lease import Lease
from fanwise.core.log import Log
from fanwise.core.publication import Kind, Position, Publication
from fanwise.core.queue import Gap, Overflow, Queue
from fanwise.core.reasons import CloseReason

HISTORY_MESSAGES = 12
HISTORY_BYTES = 400
BURST = 20
BURST_BYTES = 500


class ModelClient:
    """A client that remembers, in order, each offset it got and each gap it was told; a `group.Member` while ready."""

    def __init__(self, queue: Queue, *, begin: int) -> None:
        self.lease = Lease(None)
        self.queue = queue
        self.begin = begin
        self.story: list[int | Gap] = []
        self.wrong: list[str] = []

    def got(self, publication: Publication, expected: bytes) -> None:
        if publication.payload != expected:
            self.wrong.append(f"{publication!r} is not what was published")
        self.story.append(publication.offset)

    def write(self, data: bytes) -> None:
        while data:
            size = data[1]
            self.story.append(int(data[2:10]))
            data = data[2 + size :]

    def fall_behind(self, queue: Queue, cursor: int, rest: memoryview) -> None:
        raise AssertionError

    def broken(self, queue: Queue, cursor: int, reason: CloseReason) -> None:
        raise AssertionError

    def leave(self) -> None:
        raise AssertionError

    def covered(self) -> list[int]:
        """The offsets that the story accounts for, in its order."""
        return [
            offset
            for part in self.story
            for offset in (range(part.first, part.last + 1) if isinstance(part, Gap) else [part])
        ]


class Core(RuleBasedStateMachine):
    """Publishes, pauses, resumes, drains, trims and leaves in any order."""

    @initialize(
        overflow=st.sampled_from(Overflow),
        queue_messages=st.integers(1, 15),
        queue_bytes=st.integers(20, 400),
        slice_bytes=st.integers(1, 120),
        cohort_clients=st.integers(1, 3),
    )
    def begin(
        self, overflow: Overflow, queue_messages: int, queue_bytes: int, slice_bytes: int, cohort_clients: int
    ) -> None:
        self.hub = Hub(
            queue_messages=queue_messages,
            queue_bytes=queue_bytes,
            history_messages=HISTORY_MESSAGES,
            history_bytes=HISTORY_BYTES,
            history_seconds=1e9,
            cohort_clients=cohort_clients,
            overflow=overflow,
        )
        self.channel = self.hub.channel("lobby", time=0.0)
        self.bound(self.channel.log)
        self.loop = asyncio.new_event_loop()
        self.sweeper = Sweeper(self.loop, slice_bytes=slice_bytes, sweep_seconds=1.0)
        self.now = 0.0
        self.published: list[bytes] = []
        self.clients: list[ModelClient] = []

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def bound(self, log: Log) -> None:
        log.max_messages, log.max_bytes = (
            self.hub.retention.max_messages + BURST,
            self.hub.retention.max_bytes + BURST_BYTES,
        )

    def client(self, data: st.DataObject) -> ModelClient:
        return data.draw(st.sampled_from(self.clients))

    @rule(size=st.integers(0, 90), key=st.sampled_from([None, "a", "b"]))
    def publish(self, size: int, key: str | None) -> None:
        payload = b"%08d" % (len(self.published) + 1) + b"x" * size
        if self.channel.crowded(messages=self.hub.queue_messages, size_bytes=self.hub.queue_bytes - len(payload) + 1):
            self.sweeper.flush(self.channel)  # as the broadcaster does
        self.published.append(payload)
        self.hub.publish(self.channel, payload, kind=Kind.TEXT, time=self.now, key=key)

    @rule(seconds=st.integers(0, 3), forgiven=st.integers(1, 5))
    def age(self, seconds: int, forgiven: int) -> None:
        self.now += seconds
        self.channel.log.age(self.now - forgiven)

    @rule(back=st.none() | st.integers(0, 60))
    def subscribe(self, back: int | None) -> None:
        since = None if back is None else Position(self.channel.log.epoch, max(0, self.channel.log.head - back))
        start = self.hub.subscribe(self.channel.name, since=since, time=0.0)
        client = ModelClient(start.queue, begin=start.position.offset)
        if start.gap is not None:
            client.story.append(start.gap)
        self.clients.append(client)

    @rule()
    def sweep(self) -> None:
        self.sweeper.flush(self.channel)

    @rule()
    def trim(self) -> None:
        self.hub.retention.trim(0.0)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        client = self.client(data)
        self.channel.group(plain_frame).leave(client.queue, lease=client.lease)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        client = self.client(data)
        if client.queue.shared is None and client.queue.cursor >= self.channel.swept:
            self.channel.group(plain_frame).join(client.queue, client, lease=client.lease)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), max_bytes=st.integers(1, 200))
    def drain(self, data: st.DataObject, max_bytes: int) -> None:
        client = self.client(data)
        if client.queue.shared is not None:
            return
        batch = client.queue.get_nowait(max_bytes=max_bytes)
        parts: list[Gap | Publication] = [*batch.gaps, *batch.publications]
        for part in sorted(parts, key=lambda part: part.first if isinstance(part, Gap) else part.offset):
            if isinstance(part, Gap):
                client.story.append(part)
            else:
                client.got(part, self.published[part.offset - 1])
        if batch.gaps and client.queue.overflow is Overflow.DISCONNECT:
            assert batch.publications == []
            self.leave(client)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.leave(self.client(data))

    def leave(self, client: ModelClient) -> None:
        self.channel.group(plain_frame).leave(client.queue, lease=client.lease)
        self.check(client)
        self.clients.remove(client)
        others = [other.queue for other in self.clients]
        self.hub.unsubscribe(self.channel, client.queue, time=0.0)
        if not others and not len(self.channel.log):
            self.channel = self.hub.channel("lobby", time=0.0)
            self.bound(self.channel.log)

    def check(self, client: ModelClient) -> None:
        assert client.wrong == []
        assert client.covered() == list(range(client.begin + 1, client.queue.cursor + 1))

    @invariant()
    def stories_tile_the_log(self) -> None:
        for client in getattr(self, "clients", []):
            self.check(client)

    @invariant()
    def everything_is_bounded(self) -> None:
        if hasattr(self, "channel"):
            log = self.channel.log
            assert len(log) <= self.hub.retention.max_messages + BURST
            assert log.retained_bytes <= self.hub.retention.max_bytes + BURST_BYTES or len(log) == 1
            assert self.channel.unswept <= max(self.hub.queue_messages, 1)
            assert len(self.channel.group(plain_frame)) <= len(self.channel.queues)

    @invariant()
    def the_log_is_the_end_of_the_list(self) -> None:
        if hasattr(self, "channel") and len(self.channel.log):
            log = self.channel.log
            retained = [publication.payload for publication in log.read(log.first - 1, max_bytes=1 << 30)]
            assert retained == self.published[log.first - 1 : log.head]


TestCore = Core.TestCase
TestCore.settings = settings(stateful_step_count=60, deadline=None)  # as many examples as the profile says
