"""A recording, read back: what was published, who was behind and how far, and how it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self, TypeVar

import pytest

from fanwise.broadcaster import recorder as recorder_module
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.recorder import PENDING_BYTES, Recorder
from fanwise.core.publication import Position
from fanwise.core.reasons import CloseReason
from fanwise.core.trace import (
    MOST_BLOCK_BYTES,
    Audited,
    CaughtUp,
    ChannelSeen,
    Closed,
    Connected,
    Ended,
    FellBehind,
    Header,
    Published,
    Sample,
    Subscribed,
    Unsubscribed,
    key_number,
)
from fanwise.core.trace_reader import read_trace

from ..support.fakes import AwaitedSink, FakeSink
from ..support.live import until

pytestmark = pytest.mark.anyio

Kind = TypeVar("Kind")


class Reading:
    """A recording whose reader keeps up."""

    def __init__(self, node: Node, **bounds: Any) -> None:
        self.recorder = node.recordings.start(**{"most_bytes": 1 << 30, **bounds})
        self.chunks: list[bytes] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while data := await self.recorder.read():
            self.chunks.append(data)

    async def end(self, reason: str = "asked") -> list[Any]:
        """All records of the whole trace, without the header."""
        self.recorder.end(reason)
        await self._task
        header, *records = read_trace(self.chunks)
        assert isinstance(header, Header)
        assert isinstance(records[-1], Ended)
        return records


def ended(records: Sequence[Any]) -> str:
    """Why the trace ends."""
    assert isinstance(records[-1], Ended)
    return records[-1].reason


class Silence:
    """A source in which nothing comes."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        raise StopAsyncIteration

    def end(self) -> None:
        """It has ended already."""


def sent(sink: AwaitedSink, number: int) -> bool:
    """Whether it has been given that publication."""
    return len(sink.sent) > number


def only(kind: type[Kind], records: Sequence[Any]) -> list[Kind]:
    return [record for record in records if isinstance(record, kind)]


@asynccontextmanager
async def staged(**settings: Any) -> AsyncIterator[Node]:
    async with Node(ready_lag_seconds=float("inf"), **settings) as node:
        yield node


async def audits(node: Node, count: int = 1) -> None:
    for _ in range(count):
        await node._audit.once()


async def test_publications_are_recorded_with_size_and_key() -> None:
    """In their order, on channels that are introduced with their heads; before and after the recording nothing is."""
    async with staged() as node:
        node.publish_nowait("a", "before")
        reading = Reading(node)
        for size in (10, 10, 30):
            node.publish_nowait("a", b"x" * size, key="k" if size == 30 else None)
        node.publish_nowait("b", b"y")
        records = await reading.end()
        node.publish_nowait("a", "after")
    assert [record[1:] for record in only(ChannelSeen, records)] == [(1, "a", 1, 0), (2, "b", 0, 0)]
    assert [record[1:] for record in only(Published, records)] == [
        (1, 10, 0),
        (1, 10, 0),
        (1, 30, key_number("k")),
        (2, 1, 0),
    ]
    times = [record.at for record in records]
    assert times == sorted(times)


async def test_a_stretch_behind_is_recorded_from_its_beginning_to_its_end() -> None:
    """With what is missing and what is buffered at each audit; the client is introduced with its past."""
    async with staged() as node:
        sink = FakeSink()
        node.add_client(sink, channel="a")
        await until(lambda: not node._registry.behind)
        reading = Reading(node)
        sink.pause(buffered_bytes=77)
        for _ in range(3):
            node.publish_nowait("a", b"x" * 100)
        await audits(node)
        node.publish_nowait("a", b"x" * 100)
        await audits(node)
        sink.resume()
        await until(lambda: not node._registry.behind)
        records = await reading.end()
    story = [record for record in records if not isinstance(record, (Published, ChannelSeen))]
    assert [type(record) for record in story] == [
        Connected, Subscribed, FellBehind, Audited, Sample, Audited, Sample, CaughtUp, Ended,
    ]  # fmt: skip
    assert only(Connected, records)[0][1:] == (1, True, 0, "transport", "plain")
    assert only(Subscribed, records)[0][1:] == (1, 1, False, 0, 0)
    assert [record[1:] for record in only(Sample, records)] == [
        (1, 1, True, 3, 300, 77, -1),
        (1, 1, True, 4, 400, 77, -1),
    ]


async def test_who_is_ready_takes_no_byte() -> None:
    """However many clients are here: only those that come, go or fall behind are in the trace."""
    async with staged() as node:
        for _ in range(50):
            node.add_client(FakeSink(), channel="a")
        await until(lambda: not node._registry.behind)
        reading = Reading(node)
        node.publish_nowait("a", b"x")
        await audits(node)
        records = await reading.end()
    assert only(ChannelSeen, records)[0].clients == 50
    assert {type(record) for record in records} == {ChannelSeen, Published, Audited, Ended}


async def test_a_dropped_client_is_recorded_with_its_reason_and_its_lag() -> None:
    """And so is the one that comes back with its position, where it begins and what it has missed."""
    async with staged(queue_messages=10, history_messages=10) as node:
        sink = FakeSink()
        node.add_client(sink, channel="a")
        await until(lambda: not node._registry.behind)
        reading = Reading(node)
        sink.pause(buffered_bytes=5)
        for _ in range(12):
            node.publish_nowait("a", b"x" * 8)
        await audits(node, 2)
        epoch = node._hub.channel("a", time=0.0).log.epoch
        again = node.add_client(FakeSink(), channel="a", since=Position(epoch, 0))
        await until(lambda: not node._registry.behind)
        other = node.add_client(FakeSink(), channel="a", since=Position(epoch, 12))
        await until(lambda: not node._registry.behind)
        again.close()
        other.close()
        await until(lambda: not len(node))
        assert not reading.recorder._clients  # what has gone is not kept
        assert not reading.recorder._behind
        assert not reading.recorder._dropped
        records = await reading.end()
    slow, normal, _ = only(Closed, records)
    assert slow[1:] == (1, "slow", 12, 10 * 8 + 5)  # bytes as far as the log reaches
    assert normal[1:] == (2, "normal", 0, 0)
    assert [record[1:] for record in only(Subscribed, records)] == [
        (1, 1, False, 0, 0),
        (2, 1, True, 10, 2),
        (3, 1, True, 0, 0),
    ]
    assert [record[2:4] for record in only(Connected, records)] == [(True, 0), (False, 1), (False, 0)]


async def test_few_dropped_clients_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest makes room."""
    monkeypatch.setattr(recorder_module, "REMEMBERED", 2)
    async with staged() as node:
        reading = Reading(node)
        clients = [node.add_client(FakeSink(), channel="a") for _ in range(4)]
        for client in clients:
            client.abort(CloseReason.STALLED)
        assert list(reading.recorder._dropped) == [client.id for client in clients[2:]]
        assert len(only(Closed, await reading.end())) == 4


async def test_many_channels_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel whose number was forgotten is introduced again, and the trace is right."""
    monkeypatch.setattr(recorder_module, "_CHANNELS", 2)
    async with staged() as node:
        reading = Reading(node)
        for name in "abca":
            node.publish_nowait(name, b"x")
        assert len(reading.recorder._channels) == 2
        records = await reading.end()
    assert [record[1:4] for record in only(ChannelSeen, records)] == [
        (1, "a", 0),
        (2, "b", 0),
        (3, "c", 0),
        (4, "a", 1),
    ]
    assert [record.channel for record in only(Published, records)] == [1, 2, 3, 4]


async def test_what_waits_for_a_socket_is_sampled_without_a_lag() -> None:
    """On its only channel: among several nobody knows whose bytes they are."""
    async with staged() as node:
        sinks = FakeSink(), FakeSink()
        clients = [node.add_client(sink, channel="a") for sink in sinks]
        node.subscribe(clients[1], "b")
        await until(lambda: not node._registry.behind)
        reading = Reading(node)
        for sink in sinks:
            sink.pause(buffered_bytes=9)
        await audits(node)
        records = await reading.end()
    assert [record[1:] for record in only(Sample, records)] == [(1, 1, True, 0, 0, 9, -1)]


async def test_a_client_that_leaves_a_channel_is_recorded() -> None:
    """Its further channels go on. One that was here before leaves its ready group for that: it is in the trace then."""
    async with staged() as node:
        stranger = node.add_client(FakeSink(), channel="a")
        reading = Reading(node)
        client = node.add_client(FakeSink(), channel="a")
        node.subscribe(client, "b")
        node.unsubscribe(client, "a")
        node.unsubscribe(stranger, "a")
        records = await reading.end()
    assert [record[1:] for record in only(Unsubscribed, records)] == [(1, 1), (2, 1)]
    assert [record.here for record in only(Connected, records)] == [False, True]


async def test_clients_over_plain_asgi_are_recorded_when_an_audit_finds_them_behind() -> None:
    """They are awake for each publication: to record that would cost a record per delivery."""
    async with staged() as node:
        sink = AwaitedSink()
        node.add_client(sink, Silence, channel="a")
        await until(lambda: not node._registry.behind)
        reading = Reading(node)
        for number in range(20):
            node.publish_nowait("a", b"x")
            await until(partial(sent, sink, number))
        await until(lambda: not node._registry.behind)
        assert not reading.recorder._behind
        sink.gate.clear()
        node.publish_nowait("a", b"x")
        await until(lambda: bool(node._registry.behind))
        await audits(node)
        sink.gate.set()
        await until(lambda: not node._registry.behind)
        records = await reading.end()
    assert [type(record) for record in records if isinstance(record, (FellBehind, CaughtUp))] == [FellBehind, CaughtUp]
    assert only(Connected, records)[0].path == "asgi"


async def test_lags_fit_the_publications() -> None:
    """At each sample the client stands where the trace's publications, less its lag, put it; it never goes back."""
    chance = random.Random(7)
    async with staged(queue_messages=1000) as node:
        sinks = [FakeSink() for _ in range(5)]
        clients = [node.add_client(sink, channel=name) for sink, name in zip(sinks, "aabbb", strict=True)]
        for client in clients[1:3]:
            node.subscribe(client, "c")
        await until(lambda: not node._registry.behind)
        reading = Reading(node)
        for _ in range(60):
            for _ in range(chance.randrange(6)):
                node.publish_nowait(chance.choice("abc"), b"x" * chance.randrange(200))
            sink = chance.choice(sinks)
            sink.pause() if sink.writable else sink.resume()
            await asyncio.sleep(0)
            await audits(node)
        records = await reading.end()
    heads: dict[int, int] = {}
    ends: dict[int, list[int]] = {}
    cursors: dict[tuple[int, int], int] = {}
    for record in records:
        if isinstance(record, ChannelSeen):
            heads[record.channel], ends[record.channel] = record.head, []
        elif isinstance(record, Published):
            heads[record.channel] += 1
            ends[record.channel].append(record.size_bytes)
        elif isinstance(record, Sample):
            cursor, place = heads[record.channel] - record.lag, (record.client, record.channel)
            assert cursor >= cursors.get(place, 0)
            cursors[place] = cursor
            assert record.lag_bytes == sum(ends[record.channel][len(ends[record.channel]) - record.lag :])
    assert len(only(Sample, records)) > 50
    assert len(cursors) == 7


async def test_a_slow_reader_ends_the_trace_and_nothing_else() -> None:
    """What waits for it is bounded; what it gets is whole until there; nobody else has noticed."""
    async with staged() as node:
        recorder = node.recordings.start(most_bytes=1 << 30)
        number = recorder._channel(node._hub.channel("a", time=0.0))
        for size in range(PENDING_BYTES):
            recorder._encoder.published(size / 1000, number, size)
            if recorder.end_reason:
                break
        assert node.recordings.active == ()
        assert PENDING_BYTES < recorder._encoder.pending_bytes < PENDING_BYTES + 40_000
        node.publish_nowait("a", b"unheard")
        records = list(read_trace([await recorder.read(), await recorder.read()]))
    assert ended(records) == "slow"
    assert [record.size_bytes for record in only(Published, records)] == list(range(len(only(Published, records))))


async def test_a_trace_has_at_most_its_bytes() -> None:
    """And a block more; then it says so."""
    async with staged() as node:
        reading = Reading(node, most_bytes=50_000)
        for _ in range(100):
            for size in range(1000):
                node.publish_nowait("a", bytes(size))
            await audits(node)
            await until(lambda: reading.recorder._encoder.pending_bytes == 0)
            if not node.recordings.active:
                break
        records = await reading.end()
    assert ended(records) == "bytes"
    assert 50_000 < sum(map(len, reading.chunks)) < 50_000 + MOST_BLOCK_BYTES


async def test_an_audit_ends_a_trace_that_has_its_bytes() -> None:
    """Also when no block is full."""
    async with staged() as node:
        reading = Reading(node, most_bytes=100)
        node.publish_nowait("a", b"x")
        assert node.recordings.active
        await audits(node)
        assert not node.recordings.active
        assert ended(await reading.end()) == "bytes"


async def test_a_recording_ends_with_its_time_and_with_the_node() -> None:
    """Each with its reason; a node without one is as it was."""
    async with staged() as node:
        untouched = node._publisher._publish
        reading = Reading(node, seconds=0.01)
        assert node._publisher._publish is not untouched
        await until(lambda: not node.recordings.active)
        assert ended(await reading.end()) == "asked"
        assert node._publisher._publish == untouched
        other = Reading(node)
    assert ended(await other.end()) == "stopped"


async def test_a_recorder_that_has_ended_gives_nothing_more() -> None:
    """However often it is read."""
    async with staged() as node:
        recorder: Recorder = node.recordings.start(most_bytes=1 << 20)
        recorder.end("asked")
        recorder.end("stopped")
        assert ended(list(read_trace([await recorder.read()]))) == "asked"
        assert await recorder.read() == b""
