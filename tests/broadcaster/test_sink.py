"""The same contract for every sink: each test runs on our protocol class and on plain ASGI."""

from __future__ import annotations

import asyncio
import socket

import pytest
from fastapi import FastAPI, WebSocket
from websockets.exceptions import ConnectionClosed

from fanwise import Broadcaster, CloseReason
from fanwise.broadcaster.client import Client, State
from fanwise.broadcaster.sink import DirectSink

from ..support.live import Live, running, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.both_loops,
    pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"]),
]


class App:
    """Every client on one channel; the test publishes."""

    def __init__(self) -> None:
        self.broadcaster = Broadcaster(queue_messages=200_000, queue_bytes=200_000_000, close_seconds=0.5)
        self.asgi = FastAPI(lifespan=self.broadcaster.lifespan)
        self.asgi.add_api_websocket_route("/ws", self.endpoint)
        self.clients: list[Client] = []
        self.received: list[str | bytes] = []
        self.returned = 0

    async def endpoint(self, websocket: WebSocket) -> None:
        try:
            async with self.broadcaster.connect(websocket, channel="lobby") as client:
                self.clients.append(client)
                self.received.extend([message async for message in client])
        finally:
            self.returned += 1

    async def ready(self, number: int) -> None:
        await until(lambda: [client.state for client in self.clients].count(State.READY) == number)


async def stick(app: App, live: Live) -> socket.socket:
    """A client that has stopped reading, until its sink holds it up. Close it before the server stops."""
    stuck = await live.raw(receive_buffer=4096)
    await app.ready(1)
    while app.clients[0].state is State.READY or (app.clients[0].sink.writable and not app.clients[0].held_up):
        await app.broadcaster.publish("lobby", "x" * 60_000)
        await asyncio.sleep(0)
    return stuck


async def test_only_our_protocol_class_can_be_written_to_directly(fast: bool) -> None:
    """Which path a client takes is seen from its sink alone."""
    app = App()
    async with running(app.asgi, fast=fast) as live, await live.connect():
        await app.ready(1)
        assert isinstance(app.clients[0].sink, DirectSink) is fast
        assert isinstance(app.clients[0].sink, DirectSink) is fast


async def test_text_and_binary_arrive_in_order(fast: bool) -> None:
    """A burst of both kinds, on several clients."""
    app = App()
    messages: list[str | bytes] = [f"text {n} äöü" if n % 3 else b"binary %d" % n for n in range(2000)]
    async with running(app.asgi, fast=fast) as live, await live.connect() as one, await live.connect() as two:
        await app.ready(2)

        async def publish() -> None:
            for message in messages:
                await app.broadcaster.publish("lobby", message)

        task = asyncio.create_task(publish())
        for peer in (one, two):
            assert [await peer.recv() for _ in messages] == messages
        await task


async def test_what_clients_send_reaches_the_endpoint(fast: bool) -> None:
    """Text as str, binary as bytes, and then the iteration ends and the client is gone."""
    app = App()
    async with running(app.asgi, fast=fast) as live:
        async with await live.connect() as peer:
            await peer.send("text")
            await peer.send(b"binary")
        await until(lambda: app.returned == 1)
        assert app.received == ["text", b"binary"]
        assert app.broadcaster.statistics().clients == ()
        assert app.clients[0].reason is CloseReason.NORMAL


async def test_a_stuck_client_delays_nobody(fast: bool) -> None:
    """The others get each message while one reads nothing, and that one loses nothing once it reads."""
    app = App()
    async with running(app.asgi, fast=fast) as live:
        stuck = await stick(app, live)
        async with await live.connect() as healthy:
            await until(lambda: len(app.clients) == 2)
            for number in range(50):
                await app.broadcaster.publish("lobby", f"{number}")
                assert await healthy.recv() == f"{number}"
        assert app.clients[0].state is State.BEHIND
        stuck.close()


async def test_a_close_reason_reaches_the_client(fast: bool) -> None:
    """With its code and its text; the endpoint's iteration ends."""
    app = App()
    async with running(app.asgi, fast=fast) as live, await live.connect() as peer:
        await app.ready(1)
        app.clients[0].close(CloseReason.SLOW)
        with pytest.raises(ConnectionClosed) as caught:
            await peer.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (CloseReason.SLOW.code, CloseReason.SLOW.text)
        await until(lambda: app.returned == 1)


async def test_a_stuck_client_can_be_closed(fast: bool) -> None:
    """It does not keep its endpoint, nor its queue."""
    app = App()
    async with running(app.asgi, fast=fast) as live:
        stuck = await stick(app, live)
        app.clients[0].close(CloseReason.SLOW)
        assert app.broadcaster.statistics().clients == ()
        await until(lambda: app.returned == 1)
        stuck.close()
