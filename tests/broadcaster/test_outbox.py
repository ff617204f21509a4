from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.outbox import UNREAD_BYTES, Outbox
from fanwise.broadcaster.sink import Message
from fanwise.core.channel import Channel
from fanwise.core.dialect import JSON, PLAIN
from fanwise.core.encoding import text_frame
from fanwise.core.queue import Batch, Gap

from ..core.test_hub import make_hub, publish
from ..support.fakes import FakeSink

pytestmark = pytest.mark.anyio


class SlowSink(FakeSink):
    """A sink that cannot be written to directly, and takes messages when it is let."""

    write = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Message] = []
        self.open = asyncio.Event()

    async def send(self, messages: Sequence[Message]) -> None:
        await self.open.wait()
        self.sent += messages


def channel_with(*payloads: bytes) -> Channel:
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    for payload in payloads:
        publish(hub, channel, payload)
    return channel


def batch(channel: Channel, *gaps: Gap) -> Batch:
    missing = {offset for gap in gaps for offset in range(gap.first, gap.last + 1)}
    publications = channel.log.read(0, max_bytes=1 << 20)
    return Batch([publication for publication in publications if publication.offset not in missing], list(gaps))


async def test_gaps_stand_where_they_belong() -> None:
    """Before, between and behind publications, on a direct sink and on another, in the same words."""
    channel = channel_with(*[b"%d" % number for number in range(1, 7)])
    part = batch(channel, Gap(1, 2), Gap(4, 4), Gap(6, 6))
    direct, slow = FakeSink(), SlowSink()
    slow.open.set()
    Outbox(direct, JSON).write(channel, part)
    await Outbox(slow, JSON).send_batch(channel, part)
    payloads = [message.payload for message in slow.sent]
    assert [b'"op":"gap"' in payload for payload in payloads] == [True, False, True, False, True]
    assert direct.written == [b"".join(map(text_frame, payloads))]


async def test_a_dialect_without_gaps_is_told_none() -> None:
    """Only the publications."""
    channel, sink = channel_with(b"1", b"2", b"3"), FakeSink()
    Outbox(sink, PLAIN).write(channel, batch(channel, Gap(2, 2)))
    assert sink.written == [text_frame(b"1") + text_frame(b"3")]


async def test_what_is_told_comes_at_once_or_when_the_writer_flushes_it() -> None:
    """In the order of telling."""
    direct, slow = FakeSink(), SlowSink()
    outlets = Outbox(direct, JSON), Outbox(slow, JSON)
    for outbox in outlets:
        outbox.send(b"1")
        outbox.send(b"2")
    assert direct.written == [text_frame(b"1"), text_frame(b"2")]
    assert [outbox.pending for outbox in outlets] == [False, True]
    slow.open.set()
    await outlets[1].flush()
    assert slow.sent == [Message(b"1", binary=False), Message(b"2", binary=False)]
    assert not outlets[1].pending


async def test_who_does_not_read_answers_is_waited_for() -> None:
    """Until the sink has taken them, or the client has gone."""
    sink = FakeSink()
    outbox = Outbox(sink, JSON)
    await outbox.settled()
    sink.buffered_bytes = UNREAD_BYTES + 1
    waiting = [asyncio.create_task(outbox.settled()) for _ in range(2)]
    await checkpoint()
    outbox.settle()
    await checkpoint()
    assert not any(task.done() for task in waiting)
    sink.buffered_bytes = 0
    outbox.settle()
    await asyncio.wait(waiting)
    slow = Outbox(SlowSink(), JSON)
    slow.send(b"x" * (UNREAD_BYTES + 1))
    task = asyncio.create_task(slow.settled())
    await checkpoint()
    assert not task.done()
    slow.end()
    await task


async def test_a_send_that_waits_for_the_peer_can_be_given_up() -> None:
    """That is what holds the client up, until then."""
    sink = SlowSink()
    outbox = Outbox(sink, JSON)
    outbox.send(b"x")
    task = asyncio.create_task(outbox.flush())
    await checkpoint()
    held_up = [outbox.sending]
    outbox.end()
    await task
    assert [*held_up, outbox.sending] == [True, False]
    assert sink.sent == []
