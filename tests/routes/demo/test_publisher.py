from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from fanwise.routes.demo.publisher import Publisher, keep_pace
from fanwise.routes.demo.stream import Stream

from ...support.live import until

pytestmark = pytest.mark.anyio


class Press:
    """Takes what is published; the first publication waits until `open` is set."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.open = asyncio.Event()
        self.news = asyncio.Event()

    async def publish(self, text: str) -> None:
        self.texts.append(text)
        self.news.set()
        await self.open.wait()

    async def count(self, number: int) -> None:
        while len(self.texts) < number:
            self.news.clear()
            await self.news.wait()


async def test_both_sides_publish_the_same_messages() -> None:
    """In their order, as long as asked, and not before their time; one that waits does not hold up the other."""
    stream, stuck, free = Stream(monotonic()), Press(), Press()
    free.open.set()
    publishers = [Publisher(stream, press.publish, size_bytes=40) for press in (stuck, free)]
    tasks = [asyncio.create_task(publisher.run()) for publisher in publishers]
    began = monotonic()
    tasks.append(asyncio.create_task(keep_pace(stream, publishers, rate_per_second=100)))
    await free.count(20)
    assert monotonic() - began > 0.95 * (19 - 3) / 100  # timers go off a moment early
    assert (len(stuck.texts), publishers[0].published) == (1, 0)
    assert publishers[0].waiting == stream.due - 1
    assert publishers[0].publishing_seconds() > 0.1
    assert publishers[1].publishing_seconds() == publishers[1].waiting == 0
    stuck.open.set()
    await stuck.count(20)
    for task in tasks:
        task.cancel()
    stamps = [stream.read(text.encode(), 0, len(text)) for text in free.texts]
    assert [stamp and stamp.number for stamp in stamps] == list(range(1, len(stamps) + 1))
    assert stuck.texts[:20] == free.texts[:20]
    assert {len(text) for text in free.texts} == {40}


async def test_a_pace_that_was_held_up_does_not_burst() -> None:
    """A few messages are made up for."""
    stream = Stream(monotonic())
    publisher = Publisher(stream, Press().publish, size_bytes=16)
    pace = asyncio.create_task(keep_pace(stream, [publisher], rate_per_second=200))
    await until(lambda: stream.due >= 2)
    end = monotonic() + 0.25  # 50 messages
    while monotonic() < end:
        continue
    before = stream.due
    for _ in range(20):
        await asyncio.sleep(0)
    assert stream.due - before <= 5
    pace.cancel()


async def test_it_gives_way_to_others_when_it_is_late() -> None:
    """Publishing that never waits does not keep the loop."""
    stream, turns = Stream(monotonic()), 0

    async def publish(_text: str) -> None:
        return

    publisher = Publisher(stream, publish, size_bytes=16)
    for _ in range(20):
        publisher.offer(stream.stamp(monotonic()))
    running = asyncio.create_task(publisher.run())

    def published() -> bool:
        nonlocal turns
        turns += 1
        return publisher.published == 20

    await until(published)
    running.cancel()
    assert turns >= 10


async def test_what_publishing_raises_ends_it() -> None:
    """The run hears of it."""

    async def publish(text: str) -> None:
        raise ValueError(text)

    stream = Stream(monotonic())
    publisher = Publisher(stream, publish, size_bytes=16)
    publisher.offer(stream.stamp(monotonic()))
    with pytest.raises(ValueError, match=r"^1 "):
        await publisher.run()
    assert publisher.publishing_seconds() == 0
