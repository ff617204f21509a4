"""Beginnings, tags and filters from outside: over HTTP, in both dialects and in event streams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from fanwise import Broadcaster, User
from fanwise.backplane.memory import MemoryEngine
from fanwise.broadcaster.node import Node
from fanwise.core.filters import as_filter
from fanwise.core.rights import Action
from fanwise.routes import Access

from ..support.live import Events, Live, app_of, running
from .test_json_session import serving

pytestmark = pytest.mark.anyio


async def data_of(events: Events, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        event = await events.next()
        assert event is not None
        found += [event.data] if event.name == "message" else []
    return found


async def publish(live: Live, *symbols: str) -> list[dict[str, Any]]:
    """Each symbol as the payload and as its tag, by both ways of HTTP in turn."""
    answers: list[dict[str, Any]] = []
    for number, symbol in enumerate(symbols):
        if number % 2:
            entry = {"channel": "c", "data": symbol, "tags": {"s": symbol}}
            body = json.dumps([entry]).encode()
            answer = await live.request("POST", "/publish", body, headers={"content-type": "application/json"})
            answers.append(answer.json["results"][0])
        else:
            answer = await live.request("POST", f"/publish/c?tag=s:{symbol}&tag=v:1", symbol.encode())
            answers.append(answer.json)
    return answers


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "behind a backplane"])
@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_every_way_in_begins_and_filters(*, fast: bool, shared: bool) -> None:
    """The last ones, the last ones of a filter, and what comes: what another server published, too."""
    engine = MemoryEngine()
    one, two = (Broadcaster(backplane=engine.backplane()) if shared else Broadcaster() for _ in range(2))
    async with running(app_of(one.router), fast=fast) as here, running(app_of(two.router), fast=fast) as there:
        place = there if shared else here
        answers = await publish(here, *"abab")
        async with place.events("/sse/c?last=2&filter=s:a") as events:
            assert await data_of(events, 2) == ["a", "a"]
            async with await place.connect("/ws?channel=c&last=1") as last, await place.talk() as talk:
                assert await last.recv() == "b"
                await talk.say(op="subscribe", channel="c", last=3, filter={"s": ["b", "c"]})
                heard = [await talk.hear() for _ in range(3)]
                assert [fields["op"] for fields in heard] == ["subscribed", "message", "message"]
                assert (heard[0]["offset"], heard[0]["recovered"]) == (0, False)
                assert [(fields["offset"], fields["tags"]) for fields in heard[1:]] == [
                    (2, {"s": "b"}),
                    (4, {"s": "b"}),
                ]
                await talk.say(op="publish", channel="c", data="c", tags={"s": "c", "city": "Köln 🌍"})
                heard = [await talk.hear(), await talk.hear()]
                (message,) = (fields for fields in heard if fields["op"] == "message")
                assert message["tags"] == {"s": "c", "city": "Köln 🌍"}
                assert await last.recv() == "c"
                await publish(here, "a")
                assert await data_of(events, 1) == ["a"]
        epoch = answers[0]["epoch"]
        async with place.events("/sse/c?last=1&filter=s:b", headers={"last-event-id": f"{epoch}:1"}) as events:
            assert await data_of(events, 2) == ["b", "b"]
        history = (await place.request("GET", "/channels/c/history")).json
        assert history["messages"][0]["tags"] == {"s": "a", "v": "1"}


REFUSED = [
    ("/sse/c?last=1&since=e:1", "bad_position"),
    ("/sse/c?last=x", "bad_position"),
    ("/sse/c?last=-1", "bad_position"),
    ("/sse/c?last=99999999999", "bad_position"),
    ("/sse/c?filter=x", "bad_tags"),
    ("/sse/c?filter=a%20b:x", "bad_tags"),
    ("/sse/c?" + "&".join(f"filter=s:{number}" for number in range(33)), "bad_tags"),
]


@pytest.mark.parametrize("door", [True, False])
async def test_what_is_wrong_is_said(*, door: bool) -> None:
    """With a code of its own, and before anything is opened."""
    node = Node()
    async with serving(node, door=door) as live:
        for path, code in REFUSED:
            answer = await live.request("GET", path)
            assert (answer.status, answer.code) == (400, code), answer.json
        for path in ("/ws?last=x", "/ws?filter=x"):
            with pytest.raises(InvalidStatus) as caught:
                await live.connect(path)
            assert caught.value.response.status_code == 400
        for query in ("tag=x", "tag=s:1&tag=s:2", "&".join(f"tag=t{number}:x" for number in range(9)), "tag=s:%0a"):
            answer = await live.request("POST", f"/publish/c?{query}", b"x")
            assert (answer.status, answer.code) == (400, "bad_tags"), query
        entry = {"channel": "c", "data": "x", "tags": {str(number): "x" for number in range(1000)}}
        answer = await live.request("POST", "/publish", json.dumps([entry]).encode())
        assert answer.json["results"][0]["error"]["code"] == "bad_tags"
        async with await live.talk() as talk:
            for fields, code in (
                ({"last": 1, "since": {"epoch": "e", "offset": 1}}, "bad_position"),
                ({"last": -1}, "wrong_type"),
                ({"filter": {str(number): "x" for number in range(1000)}}, "bad_tags"),
                ({"filter": {"s": "x" * 60_000}}, "bad_tags"),
                ({"filter": "s"}, "wrong_type"),
            ):
                told = await talk.ask(op="subscribe", channel="c", **fields)
                assert (told["op"], told["code"], told["channel"]) == ("error", code, "c")
            told = await talk.ask(op="publish", channel="c", data="x", id=1, tags={"s": "\x00"})
            assert (told["code"], told["id"]) == ("bad_tags", 1)
        assert not list(node._hub)


async def test_too_many_filters_are_refused_in_words() -> None:
    """On each way in."""
    node = Broadcaster()
    async with running(app_of(node.router)) as live, await live.talk() as talk:
        await talk.ask(op="subscribe", channel="c", filter={"s": "0"})
        await talk.ask(op="unsubscribe", channel="c")
        for number in range(1, 101):
            node._hub.subscribe("c", filter=as_filter({"s": str(number)}), time=0.0)
        assert (await talk.ask(op="subscribe", channel="c", filter={"s": "x"}))["code"] == "too_many_filters"
        answer = await live.request("GET", "/sse/c?filter=s:x")
        assert (answer.status, answer.code) == (503, "too_many_filters")
        with pytest.raises(InvalidStatus) as caught:
            await live.connect("/ws?channel=c&filter=s:x")
        assert caught.value.response.status_code == 503
        assert (await talk.ask(op="subscribe", channel="c", filter={"s": "100"}))["op"] == "subscribed"


async def test_a_connection_has_one_filter_on_a_channel_and_an_address_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused on each way in with the address, and other addresses still have filters."""
    node = Broadcaster(address_filters=2)
    async with running(app_of(node.router)) as live, await live.talk() as talk, await live.talk() as other:
        assert (await talk.ask(op="subscribe", channel="c", filter={"s": "0"}))["op"] == "subscribed"
        assert (await talk.ask(op="subscribe", channel="c", filter={"s": "1"}))["code"] == "already_subscribed"
        monkeypatch.setattr("fanwise.core.addresses._is_short_loopback", lambda _: False)
        for at in range(2):
            node._hub.subscribe("d", filter=as_filter({"s": str(at)}), time=0.0, owner="127.0.0.1")
        told = await other.ask(op="subscribe", channel="d", filter={"s": "x"})
        assert (told["code"], "the clients of 127.0.0.1 on channel 'd' have 2" in told["message"]) == (
            "too_many_filters",
            True,
        )
        answer = await live.request("GET", "/sse/d?filter=s:x")
        assert (answer.status, answer.code) == (503, "too_many_filters")
        with pytest.raises(InvalidStatus) as caught:
            await live.connect("/ws?channel=d&filter=s:x")
        assert caught.value.response.status_code == 503
        assert (await other.ask(op="subscribe", channel="d", filter={"s": "1"}))["op"] == "subscribed"
        node._hub.subscribe("d", filter=as_filter({"s": "x"}), time=0.0, owner="192.0.2.7")


async def test_the_last_ones_need_the_right_to_history() -> None:
    """A filter does not."""

    def authorise(_user: User | None, action: Action, _channel: str) -> bool:
        return action is not Action.HISTORY

    node = Broadcaster(access=Access(authorise=authorise))
    async with running(app_of(node.router)) as live, await live.talk() as talk:
        assert (await talk.ask(op="subscribe", channel="c", last=1))["code"] == "forbidden"
        assert (await live.request("GET", "/sse/c?last=1")).code == "forbidden"
        with pytest.raises(InvalidStatus) as caught:
            await live.connect("/ws?channel=c&last=1")
        assert caught.value.response.status_code == 403
        assert (await talk.ask(op="subscribe", channel="c", filter={"s": "x"}))["op"] == "subscribed"
        async with live.events("/sse/c?last=0&filter=s:x") as events:
            assert "200 OK" in events.head
