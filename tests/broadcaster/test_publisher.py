"""Publishing through a broadcaster, which is a publisher that has clients."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from anyio.lowlevel import checkpoint
from pydantic import BaseModel, Field

from fanwise.broadcaster.audit import PRODUCER
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.sweep import OsWriter
from fanwise.core.publication import Kind
from fanwise.errors import ChannelNameError, MessageTooBigError, PayloadError

from ..support.fakes import FakeSink
from ..support.live import until
from .test_node import joined

pytestmark = pytest.mark.anyio


async def test_bad_input_is_refused_and_loses_nothing_else() -> None:
    """The error says what is allowed; no offset is used up, no channel opened."""
    async with Node(max_message_bytes=5) as broadcaster:
        with pytest.raises(ChannelNameError):
            await broadcaster.publish("no good", "x")
        with pytest.raises(MessageTooBigError) as caught:
            await broadcaster.publish("lobby", "äää")
        assert (caught.value.size_bytes, caught.value.limit_bytes) == (6, 5)
        assert broadcaster.statistics().channels == ()
        assert (await broadcaster.publish("lobby", "12345")).offset == 1


async def test_a_burst_without_an_await_is_written_from_inside() -> None:
    """The log never drops what ready clients have not been given, whatever the burst."""
    async with (
        Node(queue_messages=10, history_messages=1) as broadcaster,
        joined(broadcaster) as (_, sink),
    ):
        await until(lambda: broadcaster.statistics().channels[0].ready == 1)
        for number in range(1000):
            broadcaster.publish_nowait("lobby", f"{number:03}")
        await checkpoint()
        await checkpoint()
        assert b"".join(sink.written) == b"".join(b"\x81\x03%03d" % number for number in range(1000))


@pytest.mark.parametrize("burst", [101, 1000, 10_000])
async def test_a_burst_through_publish_goes_at_the_pace_of_the_sweeps(burst: int) -> None:
    """`publish` waits for the sweep, so less than a queue's worth is ever unswept."""
    async with (
        Node(queue_messages=100, history_messages=1) as broadcaster,
        joined(broadcaster) as (_, sink),
    ):
        await until(lambda: broadcaster.statistics().channels[0].ready == 1)
        for number in range(burst):
            await broadcaster.publish("lobby", f"{number:05}")
        await until(lambda: broadcaster.statistics().clients[0].lag == 0)
        assert b"".join(sink.written) == b"".join(b"\x81\x05%05d" % number for number in range(burst))
        assert max(len(written) for written in sink.written) <= 50 * 7


async def test_other_threads_publish_too() -> None:
    """The future gives the publication, or raises what `publish` raises."""
    async with Node() as broadcaster, joined(broadcaster) as (_, sink):
        offsets: list[int] = []

        def publish() -> None:
            offsets.extend(broadcaster.publish_threadsafe("lobby", "x").result(5).offset for _ in range(3))
            with pytest.raises(ChannelNameError):
                broadcaster.publish_threadsafe("no good", "x").result(5)

        thread = threading.Thread(target=publish)
        thread.start()
        await asyncio.to_thread(thread.join)
        await until(lambda: len(b"".join(sink.written)) == 9)
        assert offsets == [1, 2, 3]


class Quote(BaseModel):
    """A model with an alias and with what JSON has no word for."""

    price: Decimal = Field(alias="p")
    at: datetime | None = None


QUOTE = Quote(p=Decimal("1.0800"), at=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("payload", "written"),
    [
        (QUOTE, b'{"p":"1.0800","at":"2026-01-02T00:00:00Z"}'),
        ({"quotes": [QUOTE], "n": 1}, b'{"quotes":[{"p":"1.0800","at":"2026-01-02T00:00:00Z"}],"n":1}'),
        (Decimal("0.1000000000000000000001"), b'"0.1000000000000000000001"'),
        ({"eur": Decimal("1.08")}, b'{"eur":"1.08"}'),
    ],
)
async def test_models_and_decimals_are_json(payload: object, written: bytes) -> None:
    """As pydantic and FastAPI write them: with their aliases, and each digit of a Decimal."""
    async with Node() as broadcaster:
        publication = await broadcaster.publish("lobby", payload)
        assert (publication.kind, publication.payload) == (Kind.JSON, written)


@pytest.mark.parametrize("payload", [{1, 2}, object(), Quote, {"a": {"b": {1}}}])
async def test_what_json_has_no_word_for_is_an_error(payload: object) -> None:
    """It says of which type the payload is; nothing is published."""
    async with Node() as broadcaster:
        with pytest.raises(PayloadError, match=f"a payload of type {type(payload).__name__} cannot be published"):
            await broadcaster.publish("lobby", payload)
        assert broadcaster.tally.publications == 0


@pytest.mark.parametrize("kind", list(Kind))
async def test_bytes_are_appended_as_they_are(kind: Kind) -> None:
    """What the caller says they are is what the publication is, and the bytes are not made again."""
    async with Node() as broadcaster:
        data = b'{"a": [1, 2]}'
        publication = await broadcaster.append("lobby", kind, data, key="k")
        assert publication.payload is data
        assert (publication.kind, publication.key, publication.offset) == (kind, "k", 1)


async def test_bytes_are_measured_like_every_payload() -> None:
    """One byte above the limit is refused, and appends nothing."""
    async with Node(max_message_bytes=10) as broadcaster:
        with pytest.raises(MessageTooBigError):
            await broadcaster.append("lobby", Kind.TEXT, b"x" * 11)
        assert broadcaster.tally.publications == 0


async def test_sweeps_write_with_what_was_opened_and_it_is_closed_in_the_end() -> None:
    """Once for each start, and not before the stop."""
    opened: list[CountingWriter] = []

    class CountingWriter(OsWriter):
        closed = 0

        def __init__(self) -> None:
            super().__init__()
            opened.append(self)

        def close(self) -> None:
            self.closed += 1

    node = Node(open_writer=CountingWriter)
    for starts in (1, 2):
        async with node:
            assert (node._publisher.writer, opened[-1].closed) == (opened[-1], 0)
        assert [writer.closed for writer in opened] == [1] * starts
    assert node._publisher.writer is None


async def paused_and_not(stack: AsyncExitStack, node: Node, *, paused: int, reading: int) -> list[FakeSink]:
    """Clients on the channel "lobby"; returns the sinks of the paused ones."""
    sinks = [(await stack.enter_async_context(joined(node)))[1] for _ in range(paused + reading)]
    await until(lambda: node.inspect.outline().behind == 0)
    for sink in sinks[:paused]:
        sink.pause()
    return sinks[:paused]


async def publish_all(node: Node, count: int = 40) -> None:
    for _ in range(count):
        await node.publish("lobby", bytes(65_536))


async def test_a_producer_that_outruns_most_readers_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any of them is over its bounds, so nobody is closed; it goes on when they have caught up."""
    monkeypatch.setattr("fanwise.broadcaster.publisher._PATIENCE_SECONDS", 600.0)
    async with Node(stall_seconds=600.0) as node, AsyncExitStack() as stack:
        sinks = await paused_and_not(stack, node, paused=2, reading=1)
        producer = asyncio.create_task(publish_all(node))
        place = node._hub.channel("lobby", time=0.0)
        await until(lambda: place.log.end > node.queue_bytes // 2)
        audits = node.tally.lag.count
        await until(lambda: node.tally.lag.count > audits + 6)  # two audits of three clients
        assert not producer.done()
        assert place.log.end <= node.queue_bytes
        for sink in sinks:
            sink.resume()
        await asyncio.wait_for(producer, 60)
        assert node.statistics().closed == {}


@pytest.mark.parametrize(("paused", "reading"), [(1, 0), (1, 2), (2, 2)])
async def test_slow_readers_that_are_outnumbered_slow_no_producer(
    monkeypatch: pytest.MonkeyPatch, paused: int, reading: int
) -> None:
    """Nor does one alone: it cannot be told from a reader that is stuck."""
    monkeypatch.setattr("fanwise.broadcaster.publisher._PATIENCE_SECONDS", 600.0)
    async with Node(history_bytes=1 << 24) as node, AsyncExitStack() as stack:
        await paused_and_not(stack, node, paused=paused, reading=reading)
        await asyncio.wait_for(publish_all(node), 60)


async def test_a_producer_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that are stuck are closed, and told why: most were too slow for it."""
    monkeypatch.setattr("fanwise.broadcaster.publisher._PATIENCE_SECONDS", 0.0)
    async with Node() as node, AsyncExitStack() as stack:
        sinks = await paused_and_not(stack, node, paused=3, reading=0)
        await publish_all(node)
        await until(lambda: len(node) == 0)
        await until(lambda: all(sink.texts for sink in sinks))
        assert {text for sink in sinks for text in sink.texts} == {PRODUCER}
        assert {gone.text for gone in node.inspect.closed()} == {PRODUCER}


async def test_payloads_of_all_kinds_are_serialised() -> None:
    """Text, bytes in any form, and JSON of all else; what JSON has no word for is refused."""
    async with Node() as node:
        kinds = [
            (await node.publish("a", payload)).kind
            for payload in ("x", b"x", bytearray(b"x"), memoryview(b"x"), {"x": 1})
        ]
        assert kinds == [Kind.TEXT, Kind.BINARY, Kind.BINARY, Kind.BINARY, Kind.JSON]
        with pytest.raises(PayloadError):
            await node.publish("a", object())


async def test_publications_at_once_are_all_or_none() -> None:
    """None where a producer has to wait, where one is too large, and before there is a client."""
    async with Node(queue_messages=20, max_message_bytes=5) as broadcaster:
        assert not broadcaster.append_at_once("lobby", Kind.TEXT, [b"a", b"b"])
        async with joined(broadcaster) as (_, sink):
            await until(lambda: broadcaster.statistics().channels[0].ready == 1)
            assert broadcaster.append_at_once("lobby", Kind.TEXT, [b"a", b"b"])
            assert not broadcaster.append_at_once("lobby", Kind.TEXT, [b"c", b"123456"])
            assert not broadcaster.append_at_once("lobby", Kind.TEXT, [b"c"] * 8), "ten unswept are half a queue"
            assert broadcaster.append_at_once("lobby", Kind.TEXT, [b"c"] * 7)
            await until(lambda: sink.written == [b"\x81\x01a\x81\x01b" + b"\x81\x01c" * 7])


async def test_what_is_taken_together_is_what_is_taken_one_by_one() -> None:
    """More than a queue holds, too: it is swept in between, and nothing of it is dropped."""
    async with Node(queue_messages=20) as broadcaster:
        publisher, hub = broadcaster._publisher, broadcaster._hub
        place = hub.channel("lobby", time=0.0)
        assert not publisher.take_all(place, [b"a", b"b"], kind=Kind.TEXT, time=1.0)
        assert place.log.head == 2
        async with joined(broadcaster) as (_, sink):
            await until(lambda: broadcaster.statistics().channels[0].ready == 1)
            assert not publisher.take_all(place, [], kind=Kind.TEXT, time=1.0)
            assert not publisher.take_all(place, [b"c"] * 5, kind=Kind.TEXT, time=1.0)
            assert publisher.take_all(place, [b"d"] * 50, kind=Kind.TEXT, time=1.0), "a sweep has to come first"
            await until(lambda: b"".join(sink.written) == b"\x81\x01c" * 5 + b"\x81\x01d" * 50)
