"""Event streams leave an application with dependencies and middleware, unless that works on their body."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from fastapi import Depends, FastAPI
from starlette.background import BackgroundTasks
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanwise import Broadcaster
from fanwise.transport.event_stream_connection import EventStreamConnection
from fanwise.transport.http_protocol import FanwiseHttpProtocol

from ..support.live import Events, Live, running, until

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]
LONG = b"x" * 20_000  # less than the 64 KiB from which on an application waits for the reader
REQUEST = b"GET /sse/a HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip, deflate\r\n\r\n"


class Wrapping:
    """Middleware that adds a field to the head."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-wrapped", b"yes")]
            await send(message)

        await self.app(scope, receive, wrapped)


class Packing(Wrapping):
    """Middleware that packs what is sent, in the very messages that it is given."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        packer = zlib.compressobj()

        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = packer.compress(message["body"]) + packer.flush(zlib.Z_SYNC_FLUSH)
            await send(message)

        await self.app(scope, receive, wrapped)


class Keeping(Wrapping):
    """Middleware that sends each piece when the next one has come."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept: list[Message] = []

        async def wrapped(message: Message) -> None:
            kept.append(message)
            while len(kept) > (scope["type"] == "http"):
                await send(kept.pop(0))

        await self.app(scope, receive, wrapped)


def waiting(entered: asyncio.Event, go_on: asyncio.Event) -> type[Wrapping]:
    """Middleware that says when a request has come, and holds it until it may go on."""

    class Waiting(Wrapping):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                entered.set()
                await go_on.wait()
            await self.app(scope, receive, send)

    return Waiting


async def dispatch(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["x-wrapped"] = "yes"
    return response


@asynccontextmanager
async def serving(middleware: Any = None, **options: Any) -> AsyncIterator[tuple[Live, Broadcaster, list[str]]]:
    """An application with a dependency, of which the list says what it has done."""
    done: list[str] = []

    async def dependency(tasks: BackgroundTasks) -> AsyncIterator[None]:
        tasks.add_task(done.append, "background")
        yield
        done.append("dependency")

    broadcaster = Broadcaster(trim_heap=False)
    app = FastAPI(lifespan=broadcaster.lifespan)
    app.include_router(broadcaster.router, dependencies=[Depends(dependency)])
    app.add_api_route("/long", lambda: Response(LONG))
    if middleware is not None:
        app.add_middleware(middleware, **options)
    async with running(app) as live:
        yield live, broadcaster, done


def kinds(live: Live) -> set[str]:
    return {type(one).__name__ for one in live.server.server_state.connections}


def one_of(live: Live) -> Any:
    (one,) = live.server.server_state.connections
    return one


@pytest.mark.parametrize(
    ("middleware", "options"),
    [(None, {}), (Wrapping, {}), (BaseHTTPMiddleware, {"dispatch": dispatch}), (GZipMiddleware, {})],
    ids=["none", "a field", "a task", "gzip, not of streams"],
)
async def test_a_stream_leaves_the_application(middleware: Any, options: dict[str, Any]) -> None:
    """Neither task nor protocol of the request stays, uvicorn's books are right, and what had to be done was done."""
    async with serving(middleware, **options) as (live, broadcaster, done):
        state, tasks = live.server.server_state, len(asyncio.all_tasks())
        async with live.events("/sse/a") as events:
            assert (await events.next() is not None, events.comments) == (True, 0)
            await until(lambda: not state.tasks)
            assert len(asyncio.all_tasks()) == tasks
            assert (kinds(live), state.total_requests) == ({"EventStreamConnection"}, 1)
            assert sorted(done) == ["background", "dependency"]
            assert ("x-wrapped: yes" in events.head) is (middleware in (Wrapping, BaseHTTPMiddleware))
            await broadcaster.publish("a", "hello")
            event = await events.next()
            assert event is not None
            assert event.data == "hello"
        await until(lambda: not state.connections and not len(broadcaster))


async def test_middleware_that_packs_sees_all_of_the_body() -> None:
    """The stream stays with the application as long as it lasts."""
    async with serving(Packing) as (live, broadcaster, done):
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: len(broadcaster) == 1)
        await broadcaster.publish("a", "hello" * 5)
        packer, text = zlib.decompressobj(), b""
        while b"hello" not in text:
            size = int(await reader.readline(), 16)
            text += packer.decompress((await reader.readexactly(size + 2))[:-2])
        assert text.startswith(b":\n\n")
        assert b"event: subscribed" in text
        assert (kinds(live), done) == ({"HttpProtocol"}, [])
        writer.close()
        await until(lambda: sorted(done) == ["background", "dependency"])


async def test_middleware_that_keeps_the_body_sees_all_of_it() -> None:
    """The comment comes too late: the connection stays, and nothing is lost or out of order."""
    async with serving(Keeping) as (live, broadcaster, done), live.events("/sse/a") as events:
        await until(lambda: len(broadcaster) == 1)
        for number, (name, data) in enumerate((("subscribed", ""), ("message", "0"), ("message", "1"))):
            await broadcaster.publish("a", str(number))
            event = await events.next()
            assert event is not None
            assert (event.name, data in event.data, events.comments) == (name, True, 1)
        assert (kinds(live), done) == ({"HttpProtocol"}, [])


async def test_a_peer_that_leaves_before_the_head() -> None:
    """There is no client, no slow path, and nothing to serve."""
    entered, go_on = asyncio.Event(), asyncio.Event()
    async with serving(waiting(entered, go_on)) as (live, broadcaster, done):
        _, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(REQUEST)
        await entered.wait()
        writer.transport.abort()
        await until(lambda: not live.server.server_state.connections)
        go_on.set()
        await until(lambda: not live.server.server_state.tasks)
        assert (broadcaster.statistics().closed, sorted(done)) == ({}, ["background", "dependency"])


async def test_a_stream_that_begins_while_the_server_stops_is_closed() -> None:
    """The connections are told once: this one comes after that, and its end is not waited for in vain."""
    entered, go_on = asyncio.Event(), asyncio.Event()
    async with serving(waiting(entered, go_on)) as (live, _, __):
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(REQUEST)
        await entered.wait()
        connections: set[Any] = live.server.server_state.connections
        (protocol,) = connections
        assert isinstance(protocol, FanwiseHttpProtocol)
        protocol.shutdown()
        go_on.set()
        assert (await reader.read()).endswith(b"\r\n0\r\n\r\n")
        writer.close()


async def test_comments_come_at_the_intervals_of_their_endpoints() -> None:
    """Connections with one interval share one timer, others have another."""
    async with serving() as (live, _, __), live.events("/sse/a") as one, live.events("/sse/a") as two:
        for events in (one, two):
            await events.next()
        await until(lambda: kinds(live) == {"EventStreamConnection"})
        connections: set[Any] = live.server.server_state.connections
        streams: list[EventStreamConnection] = list(connections)
        first, second = (stream._around for stream in streams)
        assert first is second
        assert first.keep_alive.interval_seconds == 15
        assert first.at_interval(15) is first
        assert first.at_interval(1).at_interval(1) is first.at_interval(1)
        assert first.at_interval(1).connections is first.connections


async def test_a_stream_whose_head_waits_for_its_reader() -> None:
    """The bytes before it are in the server's memory at the handover: nothing overtakes them, and nothing is lost."""
    async with serving() as (live, broadcaster, _):
        state, requests, waiting_bytes = live.server.server_state, 0, 0
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        transport = cast("asyncio.Transport", writer.transport)
        transport.pause_reading()
        while not waiting_bytes:
            writer.write(b"GET /long HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            requests += 1
            await until(lambda asked=requests: state.total_requests == asked and not state.tasks)  # type: ignore[misc]
            waiting_bytes = one_of(live).transport.get_write_buffer_size()
        writer.write(REQUEST)
        await until(lambda: kinds(live) == {"EventStreamConnection"} and len(broadcaster) == 1)
        assert one_of(live).transport.get_write_buffer_size() > waiting_bytes
        await broadcaster.publish("a", "hello")
        transport.resume_reading()
        for _ in range(requests):
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(LONG)) == LONG
        events = Events(reader, (await reader.readuntil(b"\r\n\r\n")).decode())
        for name, data in (("subscribed", ""), ("message", "hello")):
            event = await events.next()
            assert event is not None
            assert (event.name, data in event.data) == (name, True)
        writer.close()


async def test_a_request_for_the_head_of_a_stream_gets_no_stream() -> None:
    """HEAD (RFC 9110 section 9.3.2) makes no client, and the connection answers the next request."""
    async with serving() as (live, broadcaster, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        for method in (b"HEAD", b"GET"):
            writer.write(REQUEST.replace(b"GET", method))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200" if method == b"GET" else b"HTTP/1.1 405"), head
        await until(lambda: len(broadcaster) == 1)
        writer.close()
