"""Publishing through a broadcaster, which is a publisher that has clients."""

from __future__ import annotations

import asyncio
import threading

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.node import Node
from fanwise.broadcaster.sweep import OsWriter
from fanwise.core.publication import Kind
from fanwise.errors import ChannelNameError, MessageTooBigError

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
