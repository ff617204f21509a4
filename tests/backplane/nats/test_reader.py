from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fanwise.backplane.nats.dial import read_answer
from fanwise.backplane.nats.life import EXPECTED
from fanwise.backplane.nats.link import Link
from fanwise.backplane.nats.messages import Head, Message, new_head, write
from fanwise.backplane.nats.reader import Reader
from fanwise.backplane.port import Outgoing
from fanwise.core.publication import Kind

from ...support.backplanes import Node
from ...support.nats import NatsEngine

pytestmark = pytest.mark.anyio


class Stream:
    """A stream, and what is in it."""

    def __init__(self, link: Link, stream: str, base: str) -> None:
        self.link = link
        self.base = base
        self.reader = Reader(link, stream, base, "test")
        self.head = new_head()

    async def append(self, *payloads: bytes, channel: str = "lobby") -> None:
        publications = [Outgoing(channel, payload, Kind.BINARY) for payload in payloads]
        head = self.head if channel == "lobby" else new_head()
        data, expected = write(head, "test:1", publications), EXPECTED % head.sequence * (channel == "lobby")
        answer = read_answer(await self.link.ask(f"{self.base}.{channel}", data, expected))
        if channel == "lobby":
            size = head.size + sum(map(len, payloads))
            self.head = Head(head.epoch, head.offset + len(payloads), answer["seq"], size)

    async def last(self) -> Message:
        last = await self.reader.last("lobby")
        assert last is not None
        assert last.head == self.head
        return last


@pytest.fixture
async def stream(engine: NatsEngine) -> AsyncIterator[Stream]:
    async with Node(engine.backplane()), engine.server.link() as link:
        name = await engine.stream(link)
        yield Stream(link, name, engine.base(name))


@pytest.mark.parametrize("wanted", [1, 2, 79, 80, 81, 150, 219, 220])
async def test_what_comes_after_an_offset(stream: Stream, wanted: int) -> None:
    """Whether it is in the newest message, in a few, or in many, with those of other channels between."""
    for number in range(60):
        if number == 20:
            await asyncio.gather(*(stream.append(b"%d" % other, channel="other") for other in range(100)))
        await stream.append(*(b"x" * (number % 7) for _ in range(3 if number < 50 else 7)))
    found = await stream.reader.before(await stream.last(), wanted, least_size=0, count=1000)
    assert [one.offset for one in found] == list(range(wanted, 221))
    assert all(one.payload in b"xxxxxx" and one.epoch == stream.head.epoch for one in found)


async def test_a_history_is_bounded(stream: Stream) -> None:
    """In publications and in bytes."""
    for _ in range(30):
        await stream.append(b"x" * 10, b"y" * 10)
    last = await stream.last()
    by_count = await stream.reader.before(last, 1, least_size=0, count=33)
    assert [one.offset for one in by_count] == list(range(28, 61))
    by_size = await stream.reader.before(last, 1, least_size=last.head.size - 395, count=1000)
    assert [one.offset for one in by_size] == list(range(22, 61))


async def test_what_came_before_an_epoch_is_not_of_it(stream: Stream) -> None:
    """Nor is what the stream has no more."""
    for _ in range(12):
        await stream.append(b"old")
    stream.head = new_head()._replace(sequence=stream.head.sequence)
    for number in range(12):
        await stream.append(b"%d" % number)
        found = await stream.reader.before(await stream.last(), 1, least_size=0, count=1000)
        assert [one.payload for one in found] == [b"%d" % one for one in range(number + 1)]


async def test_a_place_in_the_stream(stream: Stream) -> None:
    """With its time, by which it is told from another message at that place."""
    await stream.append(b"a")
    sequence, time_ns = await stream.reader.at(stream.head.sequence) or (0, 0)
    assert sequence == stream.head.sequence
    assert abs(time_ns / 1e6 - (await stream.last()).arrivals[0].at_ms) < 1
    assert await stream.reader.at(99) is None


async def test_a_channel_begins_once(stream: Stream) -> None:
    """Who comes second changes nothing."""
    assert await stream.reader.last("new") is None
    begun = await asyncio.gather(*(stream.reader.begin("new") for _ in range(3)))
    first = await stream.reader.last("new")
    assert first is not None
    assert [one.head for one in begun if one is not None] == [first.head]
    assert (first.head.offset, first.arrivals, first.previous) == (0, [], 0)
    assert await stream.reader.begin("new") is None
    assert await stream.reader.last("new") == first
