from __future__ import annotations

import logging

import pytest
from fastapi import FastAPI, WebSocket
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from websockets.exceptions import ConnectionClosed

from fanwise import AlreadyConnectedError, Broadcaster, ChannelNameError, DrainingError, FullError
from fanwise.routes.problems import refuse
from fanwise.transport.connect import hint_at_the_fast_path

from ..support.live import running, until

pytestmark = pytest.mark.anyio


async def test_an_accepted_websocket_can_be_connected() -> None:
    """An endpoint may accept by itself, with headers or a subprotocol of its own."""
    broadcaster = Broadcaster()
    app = FastAPI(lifespan=broadcaster.lifespan)

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async with broadcaster.connect(websocket, channel="lobby") as client:
            async for message in client:
                await broadcaster.publish("lobby", message)

    async with running(app) as live, await live.connect() as peer:
        await peer.send("hello")
        assert await peer.recv() == "hello"


@pytest.mark.parametrize("fast", [True, False])
async def test_a_websocket_is_a_client_once(fast: bool) -> None:
    """A second connect() says so, and the first goes on."""
    broadcaster = Broadcaster()
    app = FastAPI(lifespan=broadcaster.lifespan)

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="lobby") as client:
            with pytest.raises(AlreadyConnectedError):
                async with broadcaster.connect(websocket, channel="other"):
                    pass
            async for _ in client:
                await broadcaster.publish("lobby", f"{len(broadcaster.statistics().clients)} client")

    async with running(app, fast=fast) as live, await live.connect() as peer:
        await peer.send("?")
        assert await peer.recv() == "1 client"


async def test_errors_come_before_the_handshake() -> None:
    """So that an endpoint can still answer with a status of its own."""
    broadcaster = Broadcaster(max_clients=0)
    app = FastAPI(lifespan=broadcaster.lifespan)
    errors: list[Exception] = []

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        for channel in ("no good", "lobby"):
            try:
                async with broadcaster.connect(websocket, channel=channel):
                    pass
            except (ChannelNameError, FullError) as error:
                errors.append(error)
        await refuse(websocket, 418, "teapot")

    async with running(app) as live:
        with pytest.raises(Exception, match="418"):
            await live.connect()
    assert [type(error) for error in errors] == [ChannelNameError, FullError]


async def test_the_hint_comes_once(caplog: pytest.LogCaptureFixture) -> None:
    """However many clients take the slow path."""
    hint_at_the_fast_path.cache_clear()
    broadcaster = Broadcaster()
    app = FastAPI(lifespan=broadcaster.lifespan)
    app.include_router(broadcaster.router)
    with caplog.at_level(logging.WARNING, "fanwise"):
        async with running(app, fast=False) as live:
            for _ in range(3):
                async with await live.connect():
                    pass
    assert ["--ws fanwise.protocol:FanwiseProtocol" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("fast", [True, False])
async def test_a_server_that_begins_to_stop_during_a_handshake_closes_the_connection(fast: bool) -> None:
    """With 1012: there was room when the handshake began, and its answer is on its way."""
    broadcaster = Broadcaster()
    app = FastAPI(lifespan=broadcaster.lifespan)
    errors: list[Exception] = []

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        try:
            async with broadcaster.connect(websocket, channel="lobby"):
                pass
        except DrainingError as error:
            errors.append(error)

    class DrainBehind:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def drain_behind(message: Message) -> None:
                await send(message)
                if message["type"] == "websocket.accept":
                    await broadcaster.drain(seconds=0)

            await self.app(scope, receive, drain_behind)

    app.add_middleware(DrainBehind)
    async with running(app, fast=fast) as live, await live.connect() as peer:
        with pytest.raises(ConnectionClosed) as caught:
            await peer.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        await until(lambda: len(errors) == 1)
