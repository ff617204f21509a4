from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fanwise.broadcaster.drain import restart_text
from fanwise.broadcaster.node import Node
from fanwise.core.reasons import CloseReason
from fanwise.transport.event_stream_connection import farewell

from ..routes.test_json_session import serving
from ..support.live import Live, until

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]

WAYS = pytest.mark.parametrize(
    "way", [{"door": True}, {}, {"fast": False}], ids=["door", "protocol class", "plain ASGI"]
)


@WAYS
async def test_an_open_stream_gets_comments(way: dict[str, Any]) -> None:
    """So that whoever is in between sees that it lives."""
    broadcaster = Node()
    async with serving(broadcaster, **way, heartbeat_seconds=0.01) as live, live.events("/sse/a") as events:
        await events.next()
        task = asyncio.create_task(events.next())
        await until(lambda: events.comments > 3)
        await broadcaster.publish("a", "x")
        assert await task is not None


@pytest.mark.parametrize("door", [True, False])
async def test_a_peer_that_acknowledges_nothing_is_gone(monkeypatch: pytest.MonkeyPatch, door: bool) -> None:
    """Not even the last comment: its kernel is not there any more, and nothing else would tell."""
    broadcaster = Node()
    async with serving(broadcaster, door=door, heartbeat_seconds=0.01) as live, live.events("/sse/a") as events:
        await events.next()
        monkeypatch.setattr("fanwise.transport.socket_sink.unanswered_seconds", lambda _: 0.011)
        await until(lambda: len(broadcaster) == 0)
        assert broadcaster.statistics().closed == {"stalled": 1}


@WAYS
async def test_the_end_is_told(way: dict[str, Any]) -> None:
    """The reason's code, as WebSocket clients get it, and when to come back."""
    broadcaster = Node()
    async with serving(broadcaster, **way) as live, live.events("/sse/a") as events:
        await events.next()
        (client,) = broadcaster.statistics().clients
        broadcaster.close_client(client.id)
        event = await events.next()
        assert event is not None
        assert (event.name, json.loads(event.data)) == ("close", {"code": 4503, "reason": CloseReason.OPERATOR.text})
        assert await events.next() is None


def test_a_draining_server_says_when_to_come_back() -> None:
    """In the event and in the field that browsers honour by themselves."""
    told = farewell(CloseReason.SHUTDOWN, restart_text(7)).decode()
    assert told.splitlines()[:2] == ["event: close", "retry: 514"]
    assert json.loads(told.splitlines()[2].removeprefix("data: ")) == {
        "code": 1012,
        "reason": "restart",
        "retry_ms": 514,
    }


@WAYS
async def test_draining_ends_streams(way: dict[str, Any]) -> None:
    """Like WebSockets: each with a hint, and nobody is left."""
    broadcaster = Node()
    async with serving(broadcaster, **way) as live, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(live.events("/sse/a")) for _ in range(5)]
        for events in streams:
            await events.next()
        await broadcaster.drain(seconds=1.0)
        hints = set()
        for events in streams:
            event = await events.next()
            assert event is not None
            hints.add(json.loads(event.data)["retry_ms"])
            assert await events.next() is None
        assert len(hints) == 5
        assert len(broadcaster) == 0


@WAYS
async def test_who_leaves_is_gone(way: dict[str, Any]) -> None:
    """The client, its queue and its task."""
    broadcaster = Node()
    async with serving(broadcaster, **way) as live:
        tasks = len(asyncio.all_tasks())
        async with live.events("/sse/a") as events:
            await events.next()
            assert len(broadcaster) == 1
        await until(lambda: len(broadcaster) == 0)
        assert next(broadcaster.inspect.channels()).clients == 0
        await until(lambda: len(asyncio.all_tasks()) == tasks)


async def stuck_stream(live: Live) -> socket.socket:
    """An event stream that nobody reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", live.port))
    await loop.sock_sendall(sock, b"GET /sse/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return sock


@WAYS
async def test_a_stalled_stream_is_freed(way: dict[str, Any]) -> None:
    """Like a WebSocket; over our protocol class its connection too, over plain ASGI when the server lets it go."""
    broadcaster = Node(queue_bytes=1 << 28, queue_messages=10_000, stall_seconds=0.5, close_seconds=0.2)
    async with serving(broadcaster, **way) as live:
        stuck = await stuck_stream(live)
        await until(lambda: len(broadcaster) == 1)
        for _ in range(100):
            await broadcaster.publish("a", "x" * 60_000)
        await until(lambda: len(broadcaster) == 0)
        assert broadcaster.statistics().closed == {"stalled": 1}
        if "fast" not in way:
            await until(lambda: not live.server.server_state.connections)
        stuck.close()


@WAYS
async def test_a_stream_that_nobody_reads_does_not_keep_the_server(way: dict[str, Any]) -> None:
    """Nor does one that somebody reads: shutting down ends within uvicorn's patience."""
    broadcaster = Node(close_seconds=0.2)
    async with serving(broadcaster, **way) as live:
        stuck = await stuck_stream(live)
        await until(lambda: len(broadcaster) == 1)
        for _ in range(100):
            await broadcaster.publish("a", "x" * 60_000)
        async with live.events("/sse/a") as events:
            await events.next()
            live.server.should_exit = True
            await until(lambda: not live.server.started or not live.server.server_state.connections or "fast" in way)
    stuck.close()
    assert len(broadcaster) == 0
