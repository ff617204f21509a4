from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, WebSocket

from fanwise.routes.demo.client import SimulatedClient
from fanwise.routes.demo.rolling import RollingWindow
from fanwise.routes.demo.stream import Stream
from fanwise.tools.load.wire import Handshake

from ...support.demo import local
from ...support.live import Live, running, until

pytestmark = pytest.mark.anyio


class Loop:
    """An application that says what it is told to, to whom is there."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.here: list[WebSocket] = []
        self.greeting = ""
        self.app.add_api_websocket_route("/ws", self._serve)

    async def _serve(self, websocket: WebSocket) -> None:
        await websocket.accept()
        if self.greeting:
            await websocket.send_text(self.greeting)
        self.here.append(websocket)
        async for _text in websocket.iter_text():
            continue

    async def say(self, text: str) -> None:
        await self.here[-1].send_text(text)


async def connect(client: SimulatedClient, live: Live) -> None:
    url = urlsplit(f"ws://127.0.0.1:{live.port}/ws")
    await client.open(local(live.port), Handshake(url, subprotocol=None))


def make(stream: Stream, lost: list[SimulatedClient], window: RollingWindow | None = None) -> SimulatedClient:
    return SimulatedClient(stream=stream, window=window, now=0.0, on_lost=lost.append)


def publish(stream: Stream) -> str:
    return stream.text(stream.stamp(stream.began + 1), 64)


async def test_it_counts_what_it_receives_and_what_it_misses() -> None:
    """From its first connection on, over a close and a return; what others publish does not count."""
    loop, stream, lost = Loop(), Stream(began=0.0), list[SimulatedClient]()
    window = RollingWindow(began=0.0)
    client = make(stream, lost, window)
    publish(stream)
    assert (client.missing, client.connected, client.code) == (0, False, None)
    async with running(loop.app) as live:
        await connect(client, live)
        await until(lambda: bool(loop.here))
        first = publish(stream)
        publish(stream)
        for text in (first, first, "Message: hello", publish(stream)):
            await loop.say(text)
        await until(lambda: client.received == 2)
        assert (client.missing, client.connected, client.code) == (1, True, None)
        assert client.heard_at > 0
        await loop.here[0].close(4008)
        await until(lambda: bool(lost))
        assert (client.connected, client.code, lost) == (False, 4008, [client])
        publish(stream)
        await connect(client, live)
        await until(lambda: len(loop.here) == 2)
        await loop.say(publish(stream))
        await until(lambda: client.received == 3)
        assert (client.missing, client.connected, client.code) == (2, True, 4008)
        assert client.status(client.heard_at + 5) == {
            "received": 3,
            "missing": 2,
            "silent_seconds": 5,
            "connected": True,
            "code": 4008,
        }
        client.leave()
    assert (lost, client.connected) == ([client], False)
    assert window.percentiles(client.heard_at, 1.0) is not None


async def test_what_came_with_the_handshake_was_meant_for_it() -> None:
    """A message may have been published before it knows that it is connected."""
    loop, stream = Loop(), Stream(began=0.0)
    client = make(stream, [])
    async with running(loop.app) as live:
        publish(stream)
        loop.greeting = publish(stream)
        await connect(client, live)
        await until(lambda: client.received == 1)
        assert client.missing == 0
        publish(stream)
        assert client.missing == 1
        client.leave()


async def test_who_is_refused_is_not_connected() -> None:
    """Nor is it who finds nobody there; neither is lost."""
    lost: list[SimulatedClient] = []
    client = make(Stream(began=0.0), lost)
    async with running(FastAPI()) as live:
        await connect(client, live)
        assert not client.connected
    await connect(client, live)
    assert (client.connected, client.code, lost) == (False, None, [])


async def test_it_can_leave_while_it_connects() -> None:
    """And is not connected then, whatever the server says."""
    loop = Loop()
    client = make(Stream(began=0.0), [])
    async with running(loop.app) as live:
        opening = asyncio.create_task(connect(client, live))
        await asyncio.sleep(0)
        client.leave()
        await opening
        assert not client.connected
        await until(lambda: not live.server.server_state.connections)
