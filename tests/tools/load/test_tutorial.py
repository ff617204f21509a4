from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import ClientConnection

from fanwise.tools.load.tutorial import TutorialLoop

from ...support.live import Live, running, until

pytestmark = pytest.mark.anyio


def app(loop: TutorialLoop) -> FastAPI:
    made = FastAPI()

    @made.websocket("/loop")
    async def listen(websocket: WebSocket) -> None:
        async with loop.joined(websocket):
            async for _text in websocket.iter_text():
                continue

    return made


async def join(loop: TutorialLoop, live: Live) -> ClientConnection:
    count = len(loop.clients) + 1
    websocket = await live.connect("/loop")
    await until(lambda: len(loop.clients) == count)
    return websocket


async def test_everybody_gets_the_text() -> None:
    """In the order in which they came; who has left is in the list no more."""
    loop = TutorialLoop()
    async with running(app(loop)) as live:
        first, second = await join(loop, live), await join(loop, live)
        await loop.publish("1")
        assert (await first.recv(), await second.recv()) == ("1", "1")
        await first.close()
        await until(lambda: len(loop.clients) == 1)
        await loop.publish("2")
        assert await second.recv() == "2"
        await second.close()
        await until(lambda: not loop.clients)


async def jam(loop: TutorialLoop, live: Live) -> int:
    """Publishes until something waits for a client's socket; returns how often."""
    for count in range(1, 1000):
        await loop.publish("x" * 60_000)
        if any(connection.transport.get_write_buffer_size() for connection in live.server.server_state.connections):
            return count
    raise AssertionError("everything was taken")


async def test_who_does_not_read_stops_everybody() -> None:
    """Whoever comes after it in the list gets nothing any more, until it is gone; who left meanwhile is passed over."""
    loop = TutorialLoop()
    async with running(app(loop)) as live:
        stalled = await live.raw("/loop", receive_buffer=4096)
        await until(lambda: len(loop.clients) == 1)
        leaving, staying = await join(loop, live), await join(loop, live)
        for _ in range(await jam(loop, live)):
            await staying.recv()
        publishing = asyncio.create_task(loop.publish("next"))
        waiting = asyncio.create_task(staying.recv())
        await (await staying.ping())
        await leaving.close()
        await until(lambda: len(loop.clients) == 2)
        assert not publishing.done()
        assert not waiting.done()
        stalled.close()
        await publishing
        assert await waiting == "next"
        await staying.close()


async def test_a_stuck_publication_can_be_given_up() -> None:
    """Cancelling does not wait for the client that does not read."""
    loop = TutorialLoop()
    async with running(app(loop)) as live:
        stalled = await live.raw("/loop", receive_buffer=4096)
        await until(lambda: len(loop.clients) == 1)
        await jam(loop, live)
        publishing = asyncio.create_task(loop.publish("next"))
        await asyncio.sleep(0)
        publishing.cancel()
        await asyncio.wait({publishing})
        assert publishing.cancelled()
        stalled.close()
        await until(lambda: not loop.clients)
