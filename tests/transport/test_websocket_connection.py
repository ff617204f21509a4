"""What `test_websocket_protocol.py` does not show: connections whose endpoint has returned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from websockets.exceptions import ConnectionClosed

from fanwise import Broadcaster
from fanwise.broadcaster.client import Client, State
from fanwise.broadcaster.sink import Work
from fanwise.core.publication import Kind
from fanwise.transport.connect import attach

from ..support.live import running, until

pytestmark = pytest.mark.anyio


class App:
    """An application whose endpoint returns when its client is there; a message is published, or raises."""

    def __init__(self) -> None:
        self.broadcaster = Broadcaster()
        self.asgi = FastAPI(lifespan=self.broadcaster.lifespan)
        self.asgi.add_api_websocket_route("/ws", self._endpoint)
        self.clients: list[Client] = []

    async def _endpoint(self, websocket: WebSocket) -> None:
        await attach(self.broadcaster, websocket, self._serve, channel="lobby")

    def _serve(self, client: Client) -> Work:
        self.clients.append(client)

        def work(kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
            if data == b"wrong":
                raise ValueError("this message is wrong")
            return self.broadcaster.append_in_turn("lobby", kind, data)[1]

        return work


@pytest.mark.parametrize("fast", [True, False], ids=["ours", "plain ASGI"])
async def test_a_client_outlives_its_endpoint(fast: bool) -> None:
    """Over our protocol class without a task, over another one with its endpoint's."""
    app = App()
    async with running(app.asgi, fast=fast) as live, await live.connect() as a, await live.connect() as b:
        await until(lambda: len(app.clients) == 2 and all(one.state is State.READY for one in app.clients))
        await until(lambda: len(live.server.server_state.tasks) == (0 if fast else 2))
        for number in range(3):
            await a.send(str(number))
            assert [await a.recv(), await b.recv()] == [str(number)] * 2
        app.clients[0].close()
        with pytest.raises(ConnectionClosed) as closed:
            await a.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
        await until(lambda: len(app.broadcaster) == 1)


async def test_an_error_ends_the_client_whose_message_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """With 1011; it is logged, and others go on."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as a, await live.connect() as b:
        await until(lambda: len(app.clients) == 2)
        with caplog.at_level(logging.ERROR):
            await a.send("wrong")
            with pytest.raises(ConnectionClosed) as closed:
                await a.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        await b.send("right")
        assert await b.recv() == "right"
    assert "this message is wrong" in caplog.text


async def test_an_endpoint_that_goes_on_receiving_ends() -> None:
    """Its messages are worked on elsewhere: without an end it would wait for ever, also when the peer has left."""
    app = App()
    received: list[str] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        waiting = asyncio.create_task(websocket.receive())
        await attach(app.broadcaster, websocket, app._serve, channel="lobby")
        received.append((await waiting)["type"])

    app.asgi.add_api_websocket_route("/receiving", endpoint)
    async with running(app.asgi) as live, await live.connect("/receiving") as peer:
        await until(lambda: received == ["websocket.disconnect"])
        await peer.send("it is a client all the same")
        assert await peer.recv() == "it is a client all the same"


async def test_the_server_stops_with_clients_whose_endpoints_have_returned() -> None:
    """They are closed as others are."""
    app = App()
    async with running(app.asgi) as live:
        a = await live.connect()
        await until(lambda: len(app.clients) == 1)
        closing = asyncio.create_task(a.wait_closed())
    await closing
    assert a.close_code == 1012
    assert app.broadcaster.statistics().closed == {"shutdown": 1}
