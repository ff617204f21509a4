from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from fanwise.routes.demo.publisher import Publisher
from fanwise.routes.demo.stream import Stream

pytestmark = pytest.mark.anyio


class Press:
    """Takes what is published; the first publication waits until `open` is set."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.times: list[float] = []
        self.open = asyncio.Event()
        self.news = asyncio.Event()

    async def publish(self, text: str) -> None:
        self.texts.append(text)
        self.news.set()
        await self.open.wait()
        self.times.append(monotonic())

    async def count(self, number: int) -> None:
        while len(self.times) < number:
            self.news.clear()
            await self.news.wait()


async def test_messages_are_numbered_and_as_long_as_asked() -> None:
    """One after the other, and not before their time."""
    press, stream = Press(), Stream(monotonic())
    press.open.set()
    publisher = Publisher(stream, press.publish, rate_per_second=100, size_bytes=40)
    running = asyncio.create_task(publisher.run())
    await press.count(10)
    publisher.size_bytes = 80
    await press.count(20)
    running.cancel()
    stamps = [stream.read(text.encode(), 0, len(text)) for text in press.texts]
    assert [stamp and stamp.number for stamp in stamps] == list(range(1, len(stamps) + 1))
    assert {len(text) for text in press.texts} == {40, 80}
    assert press.times[19] - press.times[0] > 0.95 * 19 / 100  # timers go off a moment early


async def test_a_publisher_that_had_to_wait_does_not_burst() -> None:
    """It says for how long it has been waiting, and goes on at its pace; a few are made up for."""
    press, stream = Press(), Stream(monotonic())
    publisher = Publisher(stream, press.publish, rate_per_second=200, size_bytes=16)
    assert publisher.publishing_seconds() == 0
    running = asyncio.create_task(publisher.run())
    await press.news.wait()

    def release() -> None:
        assert stream.published == 0
        waited.append(publisher.publishing_seconds())
        press.open.set()

    waited: list[float] = []
    asyncio.get_running_loop().call_later(0.25, release)  # 50 messages late
    await press.count(20)
    running.cancel()
    assert press.times[19] - press.times[0] > 0.95 * (20 - 5) / 200
    assert waited[0] > 0.2
    assert publisher.publishing_seconds() == 0


async def test_it_gives_way_to_others_when_it_is_late() -> None:
    """Publishing that never waits does not keep the loop."""
    stream = Stream(monotonic())
    turns = 0

    async def publish(_text: str) -> None:
        until = monotonic() + 0.006
        while monotonic() < until:
            continue

    running = asyncio.create_task(Publisher(stream, publish, rate_per_second=200, size_bytes=16).run())
    while stream.published < 20:
        turns += 1
        await asyncio.sleep(0)
    running.cancel()
    assert turns >= 20


async def test_what_publishing_raises_ends_it() -> None:
    """The show hears of it."""

    async def publish(_text: str) -> None:
        raise ValueError(_text)

    publisher = Publisher(Stream(monotonic()), publish, rate_per_second=1, size_bytes=16)
    with pytest.raises(ValueError, match=r"^1 "):
        await publisher.run()
    assert publisher.publishing_seconds() == 0
