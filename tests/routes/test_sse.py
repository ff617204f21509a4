from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack

import pytest

from fanwise.broadcaster.drain import farewell as drain_farewell
from fanwise.broadcaster.node import Node
from fanwise.core.reasons import CloseReason
from fanwise.routes.sse import farewell

from ..support.live import Events, Live, until
from .test_conversation import serving

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]

FAST = pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])


async def offsets(events: Events, count: int) -> list[str]:
    """The next `count` messages' ids."""
    found: list[str] = []
    while len(found) < count:
        event = await events.next()
        assert event is not None
        if event.name == "message":
            found.append(event.id.partition(":")[2])
    return found


@FAST
async def test_a_channel_is_an_event_stream(fast: bool) -> None:
    """Where it begins, and then each payload with its position; newlines are data."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live, live.events("/sse/a/b") as events:
        assert "200 OK" in events.head
        assert "content-type: text/event-stream" in events.head
        assert "cache-control: no-store" in events.head
        first = await events.next()
        assert first is not None
        begun = json.loads(first.data)
        assert (first.name, first.id, begun["recovered"]) == ("subscribed", f"{begun['epoch']}:0", False)
        for payload, name, data in (
            ("one", "message", "one"),
            ("two\n\nid: evil\rx\r\n", "message", "two\n\nid: evil\nx\n"),
            ({"a": 1}, "message", '{"a":1}'),
            (b"\x00\xff", "binary", "AP8="),
        ):
            position = (await broadcaster.publish("a/b", payload)).position
            event = await events.next()
            assert event is not None
            assert (event.name, event.id, event.data) == (name, str(position), data)


@FAST
async def test_in_json_an_event_is_the_message_of_the_json_dialect(fast: bool) -> None:
    """Nothing is lost by it: key, kind and line ends are told."""
    broadcaster = Node()
    async with (
        serving(broadcaster, fast=fast) as live,
        live.events("/sse/a?format=json") as events,
        await live.talk() as talk,
    ):
        await events.next()
        await talk.ask(op="subscribe", channel="a")
        for payload in ("a\rb\n", b"\xff", [1]):
            await broadcaster.publish("a", payload, key="k")
            event = await events.next()
            assert event is not None
            assert json.loads(event.data) == await talk.hear()


@FAST
@pytest.mark.parametrize("header", [True, False])
async def test_who_comes_back_goes_on(fast: bool, header: bool) -> None:
    """After Last-Event-ID, which browsers send, or `since`; the former wins."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live:
        for number in range(10):
            last = await broadcaster.publish("a", str(number))
        where = f"{last.epoch}:4"
        path = f"/sse/a?since={last.epoch}:9" if header else f"/sse/a?since={where}"
        async with live.events(path, headers={"Last-Event-ID": where} if header else None) as events:
            first = await events.next()
            assert first is not None
            assert (first.id, json.loads(first.data)["recovered"]) == (where, True)
            await broadcaster.publish("a", "live")
            assert await offsets(events, 7) == [str(number) for number in range(5, 12)]


@FAST
async def test_what_is_missing_is_one_gap(fast: bool) -> None:
    """An event of its own, whose id is where the stream goes on."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live:
        last = await broadcaster.publish("a", "x")
        async with live.events("/sse/a?since=other:4") as events:
            told = [await events.next() for _ in range(3)]
            assert [event and (event.name, event.id) for event in told] == [
                ("subscribed", ""),
                ("gap", f"{last.epoch}:0"),
                ("message", f"{last.epoch}:1"),
            ]
            assert told[1] is not None
            assert json.loads(told[1].data)["reason"] == "epoch"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/sse/no%20good", "bad_channel"),
        ("/sse/a?since=7", "bad_position"),
        ("/sse/a?since=e:x", "bad_position"),
        ("/sse/a?format=xml", "bad_request"),
    ],
)
async def test_bad_requests_are_answered_before_a_stream_begins(path: str, code: str) -> None:
    """With 400, and a sentence."""
    async with serving(Node()) as live:
        answer = await live.request("GET", path)
        assert (answer.status, answer.code) == (400, code)


async def test_a_full_or_draining_server_takes_no_streams() -> None:
    """503 with Retry-After, at which a browser's EventSource gives up and ours comes back."""
    broadcaster = Node(max_clients=1)
    async with serving(broadcaster) as live, live.events("/sse/a") as events:
        await events.next()
        answer = await live.request("GET", "/sse/a")
        assert (answer.status, answer.code) == (503, "full")
        broadcaster.draining = True
        assert (await live.request("GET", "/sse/a")).code == "draining"
        broadcaster.draining = False


async def test_an_open_stream_gets_comments() -> None:
    """So that whoever is in between sees that it lives."""
    broadcaster = Node()
    async with serving(broadcaster, heartbeat_seconds=0.01) as live, live.events("/sse/a") as events:
        await events.next()
        task = asyncio.create_task(events.next())
        await until(lambda: events.comments > 3)
        await broadcaster.publish("a", "x")
        assert await task is not None


async def test_a_peer_that_acknowledges_nothing_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the last comment: its kernel is not there any more, and nothing else would tell."""
    broadcaster = Node()
    async with serving(broadcaster, heartbeat_seconds=0.01) as live, live.events("/sse/a") as events:
        await events.next()
        monkeypatch.setattr("fanwise.transport.connection.unanswered_seconds", lambda _: 0.011)
        await until(lambda: len(broadcaster) == 0)
        assert broadcaster.statistics().closed == {"stalled": 1}


@FAST
async def test_the_end_is_told(fast: bool) -> None:
    """The reason's code, as WebSocket clients get it, and when to come back."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live, live.events("/sse/a") as events:
        await events.next()
        (client,) = broadcaster.statistics().clients
        broadcaster.close_client(client.id)
        event = await events.next()
        assert event is not None
        assert (event.name, json.loads(event.data)) == ("close", {"code": 4503, "reason": CloseReason.OPERATOR.text})
        assert await events.next() is None


def test_a_draining_server_says_when_to_come_back() -> None:
    """In the event and in the field that browsers honour by themselves."""
    told = farewell(CloseReason.SHUTDOWN, drain_farewell(7)).decode()
    assert told.splitlines()[:2] == ["event: close", "retry: 514"]
    assert json.loads(told.splitlines()[2].removeprefix("data: ")) == {
        "code": 1012,
        "reason": "restart",
        "retry_ms": 514,
    }


@FAST
async def test_draining_ends_streams(fast: bool) -> None:
    """Like WebSockets: each with a hint, and nobody is left."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live, AsyncExitStack() as stack:
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


@FAST
async def test_who_leaves_is_gone(fast: bool) -> None:
    """The client, its queue and its task."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live:
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


@FAST
async def test_a_stalled_stream_is_freed(fast: bool) -> None:
    """Like a WebSocket; over our protocol class its connection too, over plain ASGI when the server lets it go."""
    broadcaster = Node(queue_bytes=1 << 28, queue_messages=10_000, stall_seconds=0.5, close_seconds=0.2)
    async with serving(broadcaster, fast=fast) as live:
        stuck = await stuck_stream(live)
        await until(lambda: len(broadcaster) == 1)
        for _ in range(100):
            await broadcaster.publish("a", "x" * 60_000)
        await until(lambda: len(broadcaster) == 0)
        assert broadcaster.statistics().closed == {"stalled": 1}
        if fast:
            await until(lambda: not live.server.server_state.connections)
        stuck.close()


@FAST
async def test_a_stream_that_nobody_reads_does_not_keep_the_server(fast: bool) -> None:
    """Nor does one that somebody reads: shutting down ends within uvicorn's patience."""
    broadcaster = Node(close_seconds=0.2)
    async with serving(broadcaster, fast=fast) as live:
        stuck = await stuck_stream(live)
        await until(lambda: len(broadcaster) == 1)
        for _ in range(100):
            await broadcaster.publish("a", "x" * 60_000)
        async with live.events("/sse/a") as events:
            await events.next()
            live.server.should_exit = True
            await until(lambda: not live.server.started or not live.server.server_state.connections or not fast)
    stuck.close()
    assert len(broadcaster) == 0
