from __future__ import annotations

import json
from typing import Any

import pytest

from fanwise.broadcaster.node import Node

from ..support.live import Events
from .test_json_session import serving

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]

WAYS = pytest.mark.parametrize(
    "way", [{"door": True}, {}, {"fast": False}], ids=["door", "protocol class", "plain ASGI"]
)


async def offsets(events: Events, count: int) -> list[str]:
    """The next `count` messages' ids."""
    found: list[str] = []
    while len(found) < count:
        event = await events.next()
        assert event is not None
        if event.name == "message":
            found.append(event.id.partition(":")[2])
    return found


@WAYS
async def test_a_channel_is_an_event_stream(way: dict[str, Any]) -> None:
    """Where it begins, and then each payload with its position; newlines are data."""
    broadcaster = Node()
    async with serving(broadcaster, **way) as live, live.events("/sse/a/b") as events:
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


@WAYS
async def test_in_json_an_event_is_the_message_of_the_json_dialect(way: dict[str, Any]) -> None:
    """Nothing is lost by it: key, kind and line ends are told."""
    broadcaster = Node()
    async with (
        serving(broadcaster, **way) as live,
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


@WAYS
@pytest.mark.parametrize("header", [True, False])
async def test_who_comes_back_goes_on(way: dict[str, Any], header: bool) -> None:
    """After Last-Event-ID, which browsers send, or `since`; the former wins."""
    broadcaster = Node()
    async with serving(broadcaster, **way) as live:
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


@WAYS
async def test_what_is_missing_is_one_gap(way: dict[str, Any]) -> None:
    """An event of its own, whose id is where the stream goes on."""
    broadcaster = Node()
    async with serving(broadcaster, **way) as live:
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
