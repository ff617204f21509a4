from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import pytest
from fastapi import FastAPI, Request, Response, WebSocket

from fanwise import Broadcaster, Client, CloseReason, Hooks
from fanwise.broadcaster import hooks
from fanwise.broadcaster.hooks import HookRunner
from fanwise.logs.events import Event

from ..support.live import Live, app_of, running, until

pytestmark = pytest.mark.anyio


class Noted:
    """What hooks were called with, client by client, without the client."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[Any, ...]]] = {}
        self.clients: dict[str, Client] = {}

    def note(self, hook: str, client: Client, *arguments: Any) -> None:
        self.clients[client.id] = client
        self.calls.setdefault(client.id, []).append((hook, *arguments))

    @property
    def hooks(self) -> Hooks:
        return Hooks(
            on_connect=partial(self.note, "connect"),
            on_disconnect=partial(self.note, "disconnect"),
            on_subscribe=partial(self.note, "subscribe"),
            on_message=partial(self.note, "message"),
            on_drop=partial(self.note, "drop"),
        )

    def ended(self, number: int) -> bool:
        return [calls[-1][0] for calls in self.calls.values()].count("disconnect") == number


def application(broadcaster: Broadcaster) -> FastAPI:
    """The ready-made routes, and one route of each way to make clients."""
    app = app_of(broadcaster.router)

    async def echo(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="lobby") as client:
            async for message in client:
                await broadcaster.publish("lobby", message)

    async def attached(websocket: WebSocket) -> None:
        await broadcaster.attach(websocket, lambda _client, _message: None, channel="lobby", user="ada")

    async def served(websocket: WebSocket) -> None:
        await broadcaster.serve(websocket, user="ada")

    def streamed(request: Request) -> Response:
        return broadcaster.stream(request, "lobby", user="ada")

    for name, endpoint in {"connect": echo, "attach": attached, "serve": served}.items():
        app.add_api_websocket_route(f"/{name}", endpoint)
    app.add_api_route("/stream", streamed, response_class=Response)
    return app


async def come_and_go(live: Live, path: str) -> None:
    """A WebSocket that says one thing, hears it or not, and leaves."""
    async with await live.connect(path) as peer:
        await peer.send("hi")
        await peer.send(b"\x00")


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_each_way_to_come_and_go_is_called_once_and_in_order(fast: bool) -> None:
    """Endpoints, detached clients, dialects, event streams; one that is lost, one kicked, and the server's stop."""
    noted = Noted()
    broadcaster = Broadcaster(hooks=noted.hooks)
    plain = [
        ("connect",),
        ("subscribe", "lobby"),
        ("message", "hi"),
        ("message", b"\x00"),
        ("disconnect", CloseReason.NORMAL),
    ]
    async with running(application(broadcaster), fast=fast) as live:
        for number, path in enumerate(("/connect", "/attach", "/serve", "/ws"), 1):
            await come_and_go(live, path)
            await until(lambda number=number: noted.ended(number))  # type: ignore[misc]
        assert list(noted.calls.values()) == [plain] * 4
        noted.calls.clear()

        async with live.events("/stream") as stream, live.events("/sse/lobby") as other:
            assert (await stream.next(), await other.next()) != (None, None)
        await until(lambda: noted.ended(2))
        (await live.raw()).close()  # and says no word
        await until(lambda: noted.ended(3))
        talk = await live.talk()
        await talk.ask(op="subscribe", channel="a")
        kicked = talk.welcome["client"]
        assert broadcaster.close_client(kicked)
        await until(lambda: noted.ended(4))
        *streams, lost = [calls for one, calls in noted.calls.items() if one != kicked]
        assert [calls[:2] for calls in (*streams, lost)] == [[("connect",), ("subscribe", "lobby")]] * 3
        assert [calls[2][0] for calls in (*streams, lost)] == ["disconnect"] * 3
        assert [one[0] for one in noted.calls[kicked]] == ["connect", "message", "subscribe", "disconnect"]
        assert noted.calls[kicked][-1] == ("disconnect", CloseReason.OPERATOR)
        noted.calls.clear()
        here = await live.connect()
        await until(lambda: bool(noted.calls))
    await here.wait_closed()
    (calls,) = noted.calls.values()
    assert [one[0] for one in calls] == ["connect", "subscribe", "disconnect"]


async def test_a_client_that_is_given_up_is_dropped_and_then_gone() -> None:
    """With the cause, and how much it still had to get."""
    noted = Noted()
    broadcaster = Broadcaster(hooks=noted.hooks, queue_messages=16, stall_seconds=30)
    async with running(application(broadcaster)) as live:
        stalled = await live.raw(receive_buffer=4096)
        await until(lambda: bool(noted.calls))
        for _ in range(400):
            await broadcaster.publish("lobby", "x" * 20_000)
            if noted.ended(1):
                break
        await until(lambda: noted.ended(1))
        stalled.close()
    (calls,) = noted.calls.values()
    assert [one[0] for one in calls] == ["connect", "subscribe", "drop", "disconnect"]
    _, cause, lag = calls[2]
    assert (cause, calls[3][1]) == (CloseReason.SLOW, CloseReason.SLOW)
    assert lag > 16


async def test_draining_ends_each_client_once() -> None:
    noted = Noted()
    broadcaster = Broadcaster(hooks=noted.hooks)
    async with running(application(broadcaster)) as live:
        peers = [await live.connect() for _ in range(3)]
        await until(lambda: len(noted.calls) == 3)
        await broadcaster.drain(seconds=0.2)
        await until(lambda: noted.ended(3))
        assert {calls[-1] for calls in noted.calls.values()} == {("disconnect", CloseReason.SHUTDOWN)}
        for peer in peers:
            await peer.wait_closed()
    assert {len(calls) for calls in noted.calls.values()} == {3}


async def test_what_a_hook_raises_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """And harms nobody: neither the client, nor the calls of other hooks, nor the event loop."""
    said = 0.0
    called: list[str] = []

    def fail(client: Client, *_: Any) -> None:
        called.append(client.id)
        raise asyncio.CancelledError if len(called) % 2 else ValueError("mine")

    runner = HookRunner(Hooks(on_connect=fail, on_subscribe=fail), clock=lambda: said)
    clients = [make_client(str(number)) for number in range(3)]
    for client in clients:
        runner.subscribed(client, "a")
        runner.connected(client)
    await runner.finish()
    assert called == ["0", "0", "1", "1", "2", "2"]
    said = 61.0
    runner.connected(clients[0])
    await runner.finish()
    lines = [record for record in caplog.records if getattr(record, "code", "") == Event.HOOK_FAILED.code]
    assert [(line.__dict__["hook"], line.__dict__["calls"]) for line in lines] == [
        ("on_connect", 1),
        ("on_subscribe", 1),
        ("on_connect", 3),
    ]


async def test_a_hook_that_holds_the_loop_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0

    def block(_client: Client) -> None:
        nonlocal now
        now += 0.2

    runner = HookRunner(Hooks(on_connect=block), clock=lambda: now)
    runner.connected(make_client("1"))
    await runner.finish()
    assert [record.__dict__["code"] for record in caplog.records] == ["hook_slow"]


async def test_where_hooks_are_slower_than_clients_come_the_newcomer_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded, and no call is lost."""
    monkeypatch.setattr(hooks, "MOST_WAITING", 2)
    called: list[str] = []
    runner = HookRunner(Hooks(on_connect=lambda client: called.append(client.id)))
    for number in range(5):
        runner.connected(make_client(str(number)))
    assert called == ["0", "1", "2"]
    await runner.finish()
    assert called == ["0", "1", "2", "3", "4"]


async def test_a_hook_may_do_everything() -> None:
    """Send, subscribe, publish, and close; what it causes is called after it, not inside."""
    order: list[str] = []

    def on_connect(client: Client) -> None:
        order.append("connect")
        broadcaster.subscribe(client, "more")
        client.send("hello")
        broadcaster.publish_nowait("more", "news")
        order.append("connected")

    def on_subscribe(client: Client, channel: str) -> None:
        order.append(channel)
        if channel == "more":
            client.close()
            order.append("closed")

    hooked = Hooks(
        on_connect=on_connect,
        on_subscribe=on_subscribe,
        on_disconnect=lambda _client, reason: order.append(reason.name),
    )
    broadcaster = Broadcaster(hooks=hooked)
    async with running(application(broadcaster)) as live, await live.connect() as peer:
        assert await peer.recv() == "hello"
        await until(lambda: order[-1:] == ["NORMAL"])
    assert order == ["connect", "connected", "lobby", "more", "closed", "NORMAL"]


async def a_coroutine(_client: Client) -> None:
    """A hook that nothing would await."""


class Awaited:
    async def __call__(self, _client: Client) -> None:
        """Nor this one."""


@pytest.mark.parametrize("hook", [a_coroutine, partial(a_coroutine), Awaited()], ids=["function", "partial", "object"])
async def test_a_coroutine_function_is_no_hook(hook: Any) -> None:
    with pytest.raises(TypeError, match=r"on_connect is a synchronous function.*create_task"):
        Hooks(on_connect=hook)


async def test_what_is_no_function_is_no_hook() -> None:
    wrong: Any = "print"
    with pytest.raises(TypeError, match="on_drop is a function or None, not 'print'"):
        Hooks(on_drop=wrong)


async def test_a_coroutine_that_a_hook_returns_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """It is closed: nothing would ever await it."""
    runner = HookRunner(Hooks(on_connect=lambda client: cast("None", a_coroutine(client))))
    runner.connected(make_client("1"))
    await runner.finish()
    assert "has returned a coroutine" in caplog.text


def make_client(client_id: str) -> Client:
    """A client that no connection is behind."""
    client = object.__new__(Client)
    client.id = client_id
    client.reason = None
    return client
