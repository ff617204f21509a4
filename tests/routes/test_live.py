from __future__ import annotations

import asyncio
import logging
import math

import pytest
from fastapi import FastAPI
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from fanwise.app import create_app
from fanwise.broadcaster.node import Node
from fanwise.embedding import Broadcaster
from fanwise.routes.auth.guards import Access
from fanwise.routes.live import MAX_WATCHERS
from fanwise.routes.live import Live as Feed
from fanwise.routes.stats import Stats, StatsCollector
from fanwise.settings import load_settings

from ..support.live import Live, Talk, running

pytestmark = pytest.mark.anyio


def embedded() -> tuple[FastAPI, Broadcaster]:
    broadcaster = Broadcaster()
    app = FastAPI()
    app.include_router(broadcaster.router, prefix="/fan")
    return app, broadcaster


async def test_stats_are_the_report() -> None:
    """As JSON, also under a prefix."""
    app, broadcaster = embedded()
    async with running(app) as live:
        await broadcaster.publish("a", "x")
        answer = await live.request("GET", "/fan/stats")
        assert answer.status == 200
        assert Stats.model_validate_json(answer.body).totals.publications == 1


async def test_a_watcher_gets_what_was_and_what_is() -> None:
    """Who asks for what was before gets the summaries that are retained; lists are made while somebody listens."""
    app, _ = embedded()
    async with running(app) as live:
        async with await live.talk(path="/fan/live") as talk:
            assert (await talk.ask(op="subscribe", channel="stats", since={"epoch": "none", "offset": 0}))["op"] == (
                "subscribed"
            )
            assert (await talk.hear())["reason"] == "epoch"
            first = await talk.hear()
            assert (first["channel"], first["offset"], first["data"]["version"]) == ("stats", 1, 1)
            await talk.say(op="subscribe", channel="lists")
            while (heard := await talk.hear()).get("channel") != "lists" or heard["op"] != "message":
                pass
            assert set(heard["data"]) == {"at", "clients", "channels", "forgiven", "closed_clients"}
        async with await live.talk(path="/fan/live") as again:
            await again.ask(op="subscribe", channel="stats", since={"epoch": "none", "offset": 0})
            await again.hear()
            assert (await again.hear())["offset"] == 1


async def test_watchers_are_no_clients() -> None:
    """Looking changes nothing of what is seen, and publishes nothing."""
    app, broadcaster = embedded()
    async with running(app) as live, await live.talk(path="/fan/live") as talk:
        assert (await talk.ask(op="publish", channel="stats", data=1))["code"] == "unauthorised"
        assert len(broadcaster) == 0
        assert broadcaster.tally.connections == 0
        assert list(broadcaster.inspect.channels()) == []


async def refusal(live: Live, **options: object) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await live.talk(path="/live", **options)
    return refused.value.response.status_code


async def test_who_may_watch() -> None:
    """With a key only who brings it, and only pages of this host: clients' addresses are nobody else's business."""
    async with running(create_app(load_settings(api_key="12345678"))) as live:
        assert (await live.request("GET", "/stats")).status == 401
        key = {"Authorization": "Bearer 12345678"}
        assert (await live.request("GET", "/stats", headers=key)).status == 200
        assert await refusal(live) == 401
        assert await refusal(live, additional_headers=key, origin="https://elsewhere.example") == 403
        async with await live.talk(path="/live", additional_headers=key) as talk:
            assert talk.welcome["op"] == "welcome"
        with pytest.raises(InvalidStatus) as refused:
            await live.connect("/live", additional_headers=key)
        assert refused.value.response.status_code == 400


async def test_a_newcomer_gets_a_place() -> None:
    """One more than there is room for takes the oldest place of the address that has most; the others stay."""
    app = create_app(load_settings(trusted_proxies="127.0.0.1", open="true"))
    async with running(app) as live:

        async def watch(host: str) -> Talk:
            talk = await live.talk(path="/live", additional_headers={"X-Forwarded-For": host})
            await talk.ask(op="subscribe", channel="demo")
            return talk

        operator = await watch("192.0.2.1")
        crowd = [await watch("192.0.2.2") for _ in range(MAX_WATCHERS - 1)]
        second = await watch("192.0.2.1")
        with pytest.raises(ConnectionClosedOK) as closed:
            await crowd[0].hear()
        assert "another watcher has taken this place" in str(closed.value)
        for talk in (operator, second, crowd[1], crowd[-1]):
            assert (await talk.ask(op="unsubscribe", channel="demo"))["op"] == "unsubscribed"
        for talk in (operator, second, *crowd):
            talk.websocket.transport.abort()


async def test_watchers_come_and_go_without_end() -> None:
    """Places are given back: by those who leave, and by those whose place was taken."""
    app = create_app(load_settings())
    async with running(app) as live:
        for _ in range(3 * MAX_WATCHERS):
            talk = await live.talk(path="/live")
            talk.websocket.transport.abort()
        kept = [await live.talk(path="/live") for _ in range(MAX_WATCHERS + 5)]
        assert (await live.request("GET", "/stats")).json["rejected"]["full"] == 0
        for talk in kept:
            talk.websocket.transport.abort()


async def test_routes_that_are_included_twice_are_fed_once() -> None:
    """As the broadcaster, the feed begins with the first start and ends with the last; nothing of it stays."""
    broadcaster = Broadcaster()
    app = FastAPI()
    app.include_router(broadcaster.router)
    app.include_router(broadcaster.router, prefix="/fan")
    async with running(app) as live:
        assert [task.get_name() for task in asyncio.all_tasks()].count("fanwise live") == 1
        assert (await live.request("GET", "/fan/stats")).status == 200
    assert "fanwise live" not in [task.get_name() for task in asyncio.all_tasks()]


async def test_refusals_are_counted() -> None:
    """Who tries keys here shows in the same numbers as who tries them elsewhere."""
    app = create_app(load_settings(api_key="12345678"))
    async with running(app) as live:
        assert await refusal(live, additional_headers={"X-API-Key": "87654321"}) == 401
        assert app.state.broadcaster.tally.rejected["unauthorised"] == 1


async def test_who_watches_nothing_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those who do: they stay."""
    monkeypatch.setattr("fanwise.routes.live._IDLE_SECONDS", 0.05)
    async with (
        running(create_app(load_settings())) as live,
        await live.talk(path="/live") as idle,
        await live.talk(path="/live") as watcher,
    ):
        await watcher.ask(op="subscribe", channel="lists")
        with pytest.raises(ConnectionClosedOK) as closed:
            await idle.hear()
        assert "nothing was subscribed to" in str(closed.value)
        assert (await watcher.hear())["channel"] == "lists"


async def test_a_second_that_fails_is_not_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next one comes."""
    summary = StatsCollector.summary
    failures = [ValueError("once")]

    def fail_once(self: StatsCollector) -> object:
        if failures:
            raise failures.pop()
        return summary(self)

    monkeypatch.setattr(StatsCollector, "summary", fail_once)
    app, _ = embedded()
    with caplog.at_level(logging.ERROR, "fanwise"):
        async with running(app) as live, await live.talk(path="/fan/live") as talk:
            await talk.ask(op="subscribe", channel="stats")
            assert (await talk.hear())["data"]["version"] == 1
    assert "the live feed has missed a second" in caplog.text


def test_a_late_loop_is_told_once() -> None:
    """By the broadcaster that is looked at; the watchers' own is on the same loop."""
    assert Feed(Node(), Access())._watchers.ready_lag_seconds == math.inf
