"""What our errors become in an application's own endpoints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fanwise import Broadcaster, ChannelNameError, Client, FanwiseError, Position
from fanwise.core.codes import ErrorCode

from ..support.live import Live, running, until

pytestmark = pytest.mark.anyio

FAST = pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])


def application(broadcaster: Broadcaster, app: FastAPI) -> FastAPI:
    """Endpoints that let our errors through."""
    add_routes(broadcaster, app)
    add_websockets(broadcaster, app)
    return app


def add_routes(broadcaster: Broadcaster, app: FastAPI) -> None:

    @app.post("/say/{channel:path}")
    async def say(request: Request, channel: str) -> int:
        return (await broadcaster.publish(channel, (await request.body()).decode())).offset

    @app.post("/nowait/{channel:path}")
    def nowait(channel: str) -> int:
        return broadcaster.publish_threadsafe(channel, "x").result(5).offset

    @app.get("/after/{position}")
    async def after(position: str) -> int:
        return Position.parse(position).offset

    @app.get("/wrong")
    async def wrong() -> int:
        return broadcaster.publish_nowait("a", {1, 2}).offset


def add_websockets(broadcaster: Broadcaster, app: FastAPI) -> None:
    @app.websocket("/loop")
    async def loop(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel=websocket.query_params.get("channel", "a")) as client:
            async for text in client:
                await act(client, str(text))

    @app.websocket("/attached")
    async def attached(websocket: WebSocket) -> None:
        await broadcaster.attach(websocket, act_later, channel=websocket.query_params.get("channel", "a"))

    async def act(client: Client, text: str) -> None:
        if text.startswith("/join "):
            broadcaster.subscribe(client, text.removeprefix("/join "))
        elif text == "/fail":
            raise LookupError(text)
        else:
            await broadcaster.publish("a", text)

    async def act_later(client: Client, text: str | bytes) -> None:
        await act(client, str(text))


@asynccontextmanager
async def serving(*, fast: bool = True, **bounds: Any) -> AsyncIterator[tuple[Live, Broadcaster]]:
    broadcaster = Broadcaster(trim_heap=False, **bounds)
    app = application(broadcaster, FastAPI(lifespan=broadcaster.lifespan))
    async with running(app, fast=fast) as live:
        yield live, broadcaster


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


async def refused(live: Live, path: str) -> int:
    with pytest.raises(InvalidStatus) as caught:
        await live.connect(path)
    return caught.value.response.status_code


@FAST
async def test_http_answers_have_the_status_of_the_error(fast: bool, caplog: pytest.LogCaptureFixture) -> None:
    """And the code, in the shape of the ready-made routes; counted, and without a traceback."""
    async with (
        serving(fast=fast, max_message_bytes=8, max_channels=1) as (live, broadcaster),
        await live.connect("/loop"),
    ):
        await until(lambda: len(broadcaster) == 1)
        for path, body, status, code in (
            ("/say/a%20b", b"x", 400, "bad_channel"),
            ("/nowait/a%20b", b"", 400, "bad_channel"),
            ("/say/a", b"x" * 9, 413, "too_big"),
            ("/say/b", b"x", 503, "too_many_channels"),
        ):
            answer = await live.request("POST", path, body)
            assert (answer.status, answer.code) == (status, code)
        assert (await live.request("GET", "/after/x")).code == "bad_position"
        assert broadcaster.tally.rejected[ErrorCode.BAD_CHANNEL] == 2
        assert tracebacks(caplog) == []
        assert (await live.request("GET", "/wrong")).status == 500
    assert tracebacks(caplog) != [], "a mistake of the application is told as one"


@FAST
@pytest.mark.parametrize("path", ["/loop", "/attached"])
async def test_a_handshake_is_refused_with_the_status_of_the_error(
    path: str, fast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad name with 400; for want of room, or while the server stops, with 503."""
    async with serving(fast=fast, max_clients=1) as (live, broadcaster):
        assert await refused(live, f"{path}?channel=a%20b") == 400
        async with await live.connect(path):
            await until(lambda: len(broadcaster) == 1)
            assert await refused(live, path) == 503
        broadcaster.draining = True
        assert await refused(live, path) == 503
        found = broadcaster.tally.rejected
        assert [found[code] for code in (ErrorCode.BAD_CHANNEL, ErrorCode.FULL, ErrorCode.DRAINING)] == [1, 1, 1]
    assert not [record for record in caplog.records if record.exc_info]
    assert not fast or tracebacks(caplog) == [], "uvicorn's own class takes such an answer for an error"


@FAST
@pytest.mark.parametrize("path", ["/loop", "/attached"])
@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("x" * 9, 1009, "message too big"),
        ("/join b", 1013, "the server is full"),
        ("/join a b", 4500, "bad_channel: channel name 'a b' is not allowed: it takes 1 to 255 characters of A-Z"),
        ("/join a", 4500, "already_subscribed: this client is on channel 'a' already: unsubscribe it first"),
    ],
)
async def test_a_client_is_closed_with_the_code_of_the_error(
    path: str, fast: bool, text: str, code: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It hears what was wrong; that is counted, and no traceback."""
    async with serving(fast=fast, max_message_bytes=8, max_channels=1) as (live, broadcaster):
        async with await live.connect(path) as peer:
            await peer.send(text)
            with pytest.raises(ConnectionClosed):
                await peer.recv()
            assert (peer.close_code, (peer.close_reason or "").startswith(reason)) == (code, True)
        await until(lambda: not live.server.server_state.tasks)
        assert sum(broadcaster.tally.rejected.values()) == 1
    assert tracebacks(caplog) == []


@FAST
@pytest.mark.parametrize("path", ["/loop", "/attached"])
async def test_what_else_fails_is_told(path: str, fast: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The client is closed with 1011, and the log has the traceback."""
    async with serving(fast=fast) as (live, _), await live.connect(path) as peer:
        await peer.send("/fail")
        with pytest.raises(ConnectionClosed):
            await peer.recv()
        assert peer.close_code == 1011
    assert any("LookupError" in repr(record.exc_info) for record in caplog.records if record.exc_info)


async def test_handlers_of_the_application_come_first() -> None:
    """For all our errors or for one; those without a handler are still answered by us."""
    broadcaster = Broadcaster(trim_heap=False)
    app = application(broadcaster, FastAPI(lifespan=broadcaster.lifespan))

    @app.exception_handler(ChannelNameError)
    async def teapot(_request: Request, error: Exception) -> Response:
        return JSONResponse({"mine": str(error)}, 418)

    async with running(app) as live:
        assert (await live.request("POST", "/say/a%20b", b"x")).status == 418
        assert (await live.request("GET", "/after/x")).status == 400
    app.exception_handler(FanwiseError)(teapot)
    app.middleware_stack = None
    async with running(app) as live:
        assert (await live.request("GET", "/after/x")).status == 418


async def test_an_application_that_starts_the_broadcaster_itself() -> None:
    """Its WebSockets are refused like those of others, though we never saw the application."""
    broadcaster = Broadcaster(trim_heap=False)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with broadcaster:
            yield

    async with running(application(broadcaster, FastAPI(lifespan=lifespan))) as live:
        assert await refused(live, "/loop?channel=a%20b") == 400


async def test_a_client_that_left_meanwhile_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Its endpoint may be at work for it."""
    left = asyncio.Event()
    broadcaster = Broadcaster(trim_heap=False)
    app = FastAPI(lifespan=broadcaster.lifespan)

    @app.websocket("/loop")
    async def loop(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="a") as client:
            await left.wait()
            broadcaster.subscribe(client, "b")

    async with running(app) as live:
        async with await live.connect("/loop"):
            await until(lambda: len(broadcaster) == 1)
        await until(lambda: len(broadcaster) == 0)
        left.set()
        await until(lambda: not live.server.server_state.tasks)
    assert tracebacks(caplog) == []


@FAST
@pytest.mark.parametrize("behind", [False, True], ids=["alone", "behind middleware"])
async def test_a_publisher_that_goes_away_in_the_middle_of_a_body(
    fast: bool, behind: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """On an included router it is a counted refusal too, and no traceback."""
    broadcaster = Broadcaster(trim_heap=False)
    app = FastAPI()
    app.include_router(broadcaster.router)

    async def passing(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    if behind:
        app.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    async with running(app, fast=fast) as live:
        _, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(b"POST /publish/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await until(lambda: bool(live.server.server_state.tasks))
        writer.transport.abort()
        await until(lambda: broadcaster.tally.rejected[ErrorCode.INCOMPLETE_BODY] == 1)
        await until(lambda: not live.server.server_state.tasks)
        assert broadcaster.tally.publications == 0
    assert tracebacks(caplog) == []


@FAST
@pytest.mark.parametrize("path", ["/ws", "/live"])
async def test_a_websocket_that_is_asked_for_without_an_upgrade(path: str, fast: bool) -> None:
    """426, what RFC 9110 section 15.5.22 wants in it, and what is missing; counted."""
    broadcaster = Broadcaster(trim_heap=False)
    app = FastAPI()
    app.include_router(broadcaster.router)
    async with running(app, fast=fast) as live:
        every = "Connection: Upgrade, Upgrade: websocket, Sec-WebSocket-Key, Sec-WebSocket-Version"
        for headers, lacks in (({}, every), ({"Upgrade": "websocket"}, every.replace(", Upgrade: websocket", ""))):
            answer = await live.request("GET", path, headers=headers)
            assert (answer.status, answer.code) == (426, "upgrade_required")
            assert answer.headers["upgrade"] == "websocket"
            assert f"the request lacks {lacks}:" in answer.json["error"]["message"]
        assert broadcaster.tally.rejected[ErrorCode.UPGRADE_REQUIRED] == 2
