from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from urllib.parse import urlsplit

import pytest

from fanwise.broadcaster.node import Node
from fanwise.routes.demo.stopping import StoppingClient
from fanwise.routes.demo.stream import Stream
from fanwise.routes.json_models import SUBPROTOCOL
from fanwise.tools.load.wire import Handshake

from ...support.demo import Staged, local, staged
from ...support.live import until

pytestmark = pytest.mark.anyio


class One:
    """A client that stops, on a channel of a running application."""

    def __init__(self, here: Staged, *, json: bool = True) -> None:
        self.here = here
        self.stream = Stream(monotonic())
        self.lost: list[object] = []
        self.target = local(here.live.port)
        self.handshake = Handshake(
            urlsplit(f"ws://127.0.0.1:{here.live.port}/ws?channel=a"), subprotocol=SUBPROTOCOL if json else None
        )
        channel = "a" if json else None
        self.client = StoppingClient(stream=self.stream, channel=channel, now=0.0, on_lost=self.lost.append)

    async def open(self) -> None:
        await self.client.open(self.target, self.handshake)
        await until(lambda: bool((found := self.here.broadcaster.inspect.channel("a")) and found.clients))

    async def publish(self, number: int = 1, size_bytes: int = 64) -> None:
        for _ in range(number):
            await self.here.broadcaster.publish("a", self.stream.text(self.stream.stamp(monotonic()), size_bytes))


@asynccontextmanager
async def one(*, json: bool = True, broadcaster: Node | None = None) -> AsyncIterator[One]:
    async with staged(broadcaster=broadcaster) as here:
        it = One(here, json=json)
        await it.open()
        try:
            yield it
        finally:
            await it.client.close()


@pytest.mark.parametrize("json", [True, False], ids=["JSON", "plain"])
async def test_it_reads_until_it_stops(json: bool) -> None:
    """Nothing that is published after that reaches it; what others publish is none of the stream."""
    async with one(json=json) as it:
        await it.publish(3)
        await it.here.broadcaster.publish("a", {"other": 1} if json else "other")
        await until(lambda: it.client.received == 3)
        assert (it.client.missing, it.client.status(monotonic())["stopped_seconds"]) == (0, None)
        it.client.stop_reading()
        await it.publish(2)
        for _ in range(50):
            await asyncio.sleep(0)
        status = it.client.status(monotonic())
        assert (status["received"], status["missing"], status["returned"]) == (3, 2, False)
        assert status["stopped_seconds"] >= 0


async def test_it_comes_back_with_its_position() -> None:
    """What was retained meanwhile reaches it, once, and then what is new."""
    async with one() as it:
        await it.publish(3)
        await until(lambda: it.client.received == 3)
        it.client.stop_reading()
        await it.publish(5)
        address = it.client.address
        it.client.come_back(it.target, it.handshake)
        await until(lambda: it.client.retained == 5)
        assert not it.client.caught_up
        assert it.client.address != address
        await it.publish()
        await until(lambda: it.client.caught_up)
        assert (it.client.received, it.client.missing, it.client.retained, it.client.lost) == (9, 0, 5, 0)
        assert it.lost == []


async def test_it_knows_what_is_lost() -> None:
    """Where the log does not reach back so far, the server says so."""
    async with one(broadcaster=Node(history_messages=50, queue_messages=50)) as it:
        await it.publish(3)
        await until(lambda: it.client.received == 3)
        it.client.stop_reading()
        await it.publish(200)
        it.client.come_back(it.target, it.handshake)
        await until(lambda: it.client.retained + it.client.lost == 200)
        assert it.client.retained >= 50
        assert it.client.missing == it.client.lost > 0


async def test_it_can_be_closed_on_its_way_back() -> None:
    """Then nothing of it is left."""
    async with one() as it:
        it.client.stop_reading()
        it.client.come_back(it.target, it.handshake)
        await it.client.close()
        assert not it.client.connected
        await until(lambda: len(it.here.broadcaster) == 0)
