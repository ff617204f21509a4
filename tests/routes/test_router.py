from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.exceptions import InvalidStatus

from fanwise.broadcaster.node import Node
from fanwise.routes import build_router

from ..support.live import Live, app_of, running, until

pytestmark = pytest.mark.anyio

PREFIX = "/fan"
PASS = {"X-Pass": "yes"}


def make_app(broadcaster: Node) -> FastAPI:
    return app_of(build_router(broadcaster, demo_clients=5))


async def test_a_late_loop_is_not_ready() -> None:
    """The probe that sends traffic elsewhere says no for some seconds; the one that restarts processes says yes."""
    broadcaster = Node(ready_lag_seconds=0.5)
    async with running(make_app(broadcaster)) as live:
        assert (await live.request("GET", "/readyz")).status == 200
        broadcaster._loop_lag._due -= 1
        answer = await live.request("GET", "/readyz")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert (await live.request("GET", "/healthz")).status == 200
        assert broadcaster.inspect.outline().loop_lag_seconds > 0.5


async def guard(connection: HTTPConnection) -> None:
    if "x-pass" not in connection.headers:
        raise HTTPException(403, "the guard lets nobody in")


class Noting:
    """Middleware that notes what comes by."""

    def __init__(self, app: ASGIApp, seen: set[tuple[str, str]]) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self._seen.add((scope.get("method", "WS"), scope["path"]))
        await self._app(scope, receive, send)


def asked(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """(method, path) of all that can be asked of `routes`, below the prefix."""
    for route in routes:
        assert isinstance(route, (APIRoute, APIWebSocketRoute)), f"dependencies do not hold for {route}"
        path = PREFIX + re.sub(r"\{[^}]*\}", "a", route.path)
        for method in route.methods or () if isinstance(route, APIRoute) else ["WS"]:
            yield method, path


async def ask(live: Live, method: str, path: str) -> tuple[int, bytes]:
    """The status of an answer, and what of its body says why."""
    if method != "WS":
        answer = await live.request(method, path)
        return answer.status, answer.body
    with pytest.raises(InvalidStatus) as caught:
        await live.connect(path)
    return caught.value.response.status_code, bytes(caught.value.response.body)


def guarded(where: str, router: APIRouter) -> FastAPI:
    """An application with `router`, where a guard stands before it."""
    guards = [Depends(guard)]
    app = FastAPI(dependencies=guards if where == "application" else [])
    if where == "outer router":
        outer = APIRouter(dependencies=guards)
        outer.include_router(router)
        app.include_router(outer, prefix=PREFIX)
    else:
        app.include_router(router, prefix=PREFIX, dependencies=guards if where == "include_router" else [])
    return app


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
@pytest.mark.parametrize("where", ["include_router", "outer router", "application"])
async def test_dependencies_hold_for_every_route(where: str, fast: bool) -> None:
    """For each method, WebSockets and event streams too, below a prefix, and behind middleware that sees them all."""
    broadcaster, seen = Node(), set[tuple[str, str]]()
    router = build_router(broadcaster, demo_clients=5, page=True)
    every = set(asked(router.routes))
    assert {("WS", "/fan/ws"), ("WS", "/fan/live"), ("GET", "/fan/sse/a"), ("GET", "/fan/")} < every
    app = guarded(where, router)
    app.add_middleware(Noting, seen=seen)
    async with running(app, fast=fast) as live:
        for method, path in every:
            status, body = await ask(live, method, path)
            assert (method, path, status) == (method, path, 403)
            assert method == "HEAD" or b"the guard lets nobody in" in body
        assert seen == every
        assert (len(broadcaster), broadcaster.tally.publications) == (0, 0)


async def test_a_guard_lets_others_in() -> None:
    """It is asked as for any other route, and those who pass talk and listen below the prefix."""
    broadcaster = Node()
    app = guarded("include_router", build_router(broadcaster))
    async with (
        running(app) as live,
        live.events(f"{PREFIX}/sse/lobby", headers=PASS) as events,
        await live.connect(f"{PREFIX}/ws", additional_headers=PASS) as peer,
    ):
        await until(lambda: len(broadcaster) == 2)
        await peer.send("Hello")
        assert await peer.recv() == "Message: Hello"
        assert [event and event.name for event in (await events.next(), await events.next())] == [
            "subscribed",
            "message",
        ]
