from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, WebSocket

from fanwise import Broadcaster, Client

from .support.live import running, until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])]


async def test_the_example_of_the_readme(fast: bool) -> None:
    """The endpoint that replaces the tutorial loop."""
    broadcaster = Broadcaster()
    app = FastAPI(lifespan=broadcaster.lifespan)

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="lobby") as client:
            async for text in client:
                await broadcaster.publish("lobby", f"Message: {text!s}")

    async with running(app, fast=fast) as live, await live.connect() as one, await live.connect() as two:
        await until(lambda: len(broadcaster.statistics().clients) == 2)
        await one.send("Hello")
        assert [await one.recv(), await two.recv()] == ["Message: Hello"] * 2


async def test_the_router_brings_its_own_lifespan(fast: bool) -> None:
    """And goes together with that of the application, and with `broadcaster.lifespan`."""
    broadcaster = Broadcaster()
    started: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        started.append("mine")
        async with broadcaster.lifespan(app):
            yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(broadcaster.router)
    async with running(app, fast=fast) as live, await live.connect() as peer:
        await peer.send("Hello")
        assert await peer.recv() == "Message: Hello"
    assert started == ["mine"]
    assert broadcaster._starts == 0


async def test_routes_publish(fast: bool) -> None:
    """From a synchronous route in a worker thread, and from an asynchronous one."""
    broadcaster = Broadcaster()
    app = FastAPI()
    app.include_router(broadcaster.router)

    @app.get("/async")
    async def publish_async() -> int:
        return broadcaster.publish_nowait("lobby", "from a coroutine").offset

    @app.get("/thread")
    def publish_thread() -> int:
        return broadcaster.publish_threadsafe("lobby", "from a thread").result(5).offset

    async with running(app, fast=fast) as live, await live.connect() as peer:
        await until(lambda: len(broadcaster.statistics().clients) == 1)
        for path, text in (("/async", "from a coroutine"), ("/thread", "from a thread")):
            assert (await live.get(path)).startswith(b"HTTP/1.1 200")
            assert await peer.recv() == text


async def test_an_endpoint_that_returns(fast: bool) -> None:
    """Its client stays; functions and coroutines work on what it sends, text as str and binary as bytes."""
    broadcaster = Broadcaster()
    app = FastAPI(lifespan=broadcaster.lifespan)

    def note(_client: Client, message: str | bytes) -> None:
        broadcaster.publish_nowait("lobby", f"{message!r}")

    async def publish(client: Client, message: str | bytes) -> None:
        await broadcaster.publish("lobby", f"{message!r} of {client.id}")

    @app.websocket("/sync")
    async def sync(websocket: WebSocket) -> None:
        await broadcaster.attach(websocket, note, channel="lobby")

    @app.websocket("/async")
    async def later(websocket: WebSocket) -> None:
        await broadcaster.attach(websocket, publish, channel="lobby")

    async with running(app, fast=fast) as live, await live.connect("/sync") as one, await live.connect("/async") as two:
        await until(lambda: len(broadcaster) == 2)
        await one.send("Hello")
        assert [await one.recv(), await two.recv()] == ["'Hello'"] * 2
        await one.send(b"Hello")
        assert [await one.recv(), await two.recv()] == ["b'Hello'"] * 2
        (client,) = (found for found in broadcaster.statistics().clients[-1:])
        await two.send("Hi")
        assert [await one.recv(), await two.recv()] == [f"'Hi' of {client.id}"] * 2
