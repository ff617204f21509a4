from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from fastapi import WebSocket

from fanwise import Broadcaster, Client, CloseReason, GoneError, MessageTooBigError, NotRunningError, PayloadError, User

from ..support.live import app_of, running, until

pytestmark = pytest.mark.anyio


class Stage:
    """A server whose route `/ws` makes clients of the user in `?user=`, in the order in which they come."""

    def __init__(self, **settings: Any) -> None:
        self.broadcaster = Broadcaster(**settings)
        self.clients: list[Client] = []
        self.app = app_of(self.broadcaster.router)
        self.app.add_api_websocket_route("/user", self.endpoint)

    async def endpoint(self, websocket: WebSocket) -> None:
        user = websocket.query_params.get("user")
        async with self.broadcaster.connect(websocket, channel="lobby", user=user) as client:
            self.clients.append(client)
            async for _ in client:
                pass


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_one_client_gets_what_is_sent_to_it_in_order(fast: bool) -> None:
    """Text as text, bytes as binary, all else as JSON; nobody else gets it, and no position moves."""
    stage = Stage()
    async with running(stage.app, fast=fast) as live:
        peer, other = await live.connect("/user"), await live.connect("/user")
        await until(lambda: len(stage.clients) == 2)
        for payload in ("text", b"\x00\xff", {"a": [1]}):
            stage.clients[0].send(payload)
        assert [await peer.recv() for _ in range(3)] == ["text", b"\x00\xff", '{"a":[1]}']
        await stage.broadcaster.publish("lobby", "to all")
        assert [await peer.recv(), await other.recv()] == ["to all", "to all"]
        with pytest.raises(MessageTooBigError):
            stage.clients[0].send("x" * 65_537)
        with pytest.raises(PayloadError):
            stage.clients[0].send(object())
        stage.clients[0].close()
        with pytest.raises(GoneError):
            stage.clients[0].send("too late")


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_each_dialect_has_a_word_for_it(fast: bool) -> None:
    """The JSON dialect `direct`, event streams an event without an id; binary is base64 in both."""
    stage = Stage()
    registry = stage.broadcaster._registry
    async with (
        running(stage.app, fast=fast) as live,
        await live.talk() as talk,
        live.events("/sse/a") as events,
        live.events("/sse/a?format=json") as in_json,
    ):
        for stream in (events, in_json):
            assert (await stream.next()).name == "subscribed"  # type: ignore[union-attr]
        for client in registry:
            client.send("text")
            client.send(b"\x00")
        assert [await talk.hear(), await talk.hear()] == [
            {"op": "direct", "data": "text"},
            {"op": "direct", "data": "AA==", "encoding": "base64"},
        ]
        plain = [await events.next(), await events.next()]
        assert [(one.name, one.id, one.data) for one in plain if one is not None] == [
            ("direct", "", "text"),
            ("direct-binary", "", "AA=="),
        ]
        json = [await in_json.next(), await in_json.next()]
        assert [(one.name, one.id, one.data) for one in json if one is not None] == [
            ("direct", "", '{"op":"direct","data":"text"}'),
            ("direct", "", '{"op":"direct","data":"AA==","encoding":"base64"}'),
        ]


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
@pytest.mark.parametrize("size", [0, 60_000])
async def test_a_client_that_never_reads_is_closed_as_slow(fast: bool, size: int) -> None:
    """When messages, or bytes, beyond its bounds wait for its connection: what waits for it is bounded."""
    stage = Stage(queue_messages=64, queue_bytes=262_144, overflow="latest", close_seconds=0.1)
    async with running(stage.app, fast=fast) as live:
        stalled = await live.raw("/user", receive_buffer=4096)
        await until(lambda: len(stage.clients) == 1)
        (client,) = stage.clients
        while not client.held_up:
            client.send("x" * 60_000)
            for _ in range(5):
                await asyncio.sleep(0)
        with suppress(GoneError):
            while True:
                client.send("x" * size)
                assert client.outbox.waiting_bytes <= 262_144 + 65_536
        assert client.reason is CloseReason.SLOW
        await until(lambda: not len(stage.broadcaster))
        stalled.close()


async def test_what_was_taken_does_not_count() -> None:
    """A client that reads gets ten times its bounds, and is asked for more at its own pace."""
    stage = Stage(queue_messages=8, queue_bytes=65_536)
    async with running(stage.app) as live:
        peer = await live.connect("/user")
        await until(lambda: len(stage.clients) == 1)
        for number in range(80):
            stage.clients[0].send(f"{number}")
            assert await peer.recv() == f"{number}"


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_all_clients_of_a_user_get_it(fast: bool) -> None:
    """And nobody else; it is known how many there are, and who has gone is none of them."""
    stage = Stage()
    send_to = stage.broadcaster.send_to
    with pytest.raises(NotRunningError):
        await send_to("ada", "hello")
    async with running(stage.app, fast=fast) as live:
        ada = [await live.connect("/user?user=ada") for _ in range(2)]
        others = [await live.connect("/user?user=bob"), await live.connect("/user")]
        await until(lambda: len(stage.clients) == 4)
        assert [await send_to("ada", "hello"), await send_to(User("bob"), b"hello"), await send_to("eve", 1)] == [
            2,
            1,
            0,
        ]
        assert [await peer.recv() for peer in (*ada, others[0])] == ["hello", "hello", b"hello"]
        await ada[0].close()
        await until(lambda: len(stage.broadcaster) == 3)
        assert await send_to("ada", {"n": 1}) == 1
        stage.broadcaster._registry.identify(stage.clients[0], None)
        stage.broadcaster._registry.identify(stage.clients[3], User("bob"))
        assert await send_to("bob", "both") == 2
        assert [await peer.recv() for peer in others] == ["both", "both"]
        with pytest.raises(MessageTooBigError):
            await send_to("nobody", "x" * 65_537)
        for peer in (ada[1], *others):
            await peer.close()
        await until(lambda: not len(stage.broadcaster))
        assert not stage.broadcaster._registry.users
