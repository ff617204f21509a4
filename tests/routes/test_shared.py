"""Two servers with the ready-made routes and one engine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from fanwise import Broadcaster, User
from fanwise.backplane.memory import MemoryEngine
from fanwise.core.reasons import CloseReason
from fanwise.core.rights import Action
from fanwise.routes import Access
from fanwise.routes.batch import Entry
from fanwise.routes.flight import IN_FLIGHT

from ..support.engines import RedisServer, redis_server
from ..support.live import Live, app_of, running, until
from ..support.patience import patient

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_every_way_in_leads_to_every_server(server: RedisServer, *, fast: bool) -> None:
    """Plain and JSON WebSockets, POST and event streams; a client goes on elsewhere from its position."""
    await server.ready()
    one, two = (Broadcaster(backplane=server.url) for _ in range(2))
    async with running(app_of(one.router), fast=fast) as here, running(app_of(two.router), fast=fast) as there:
        async with await here.connect() as plain, await there.talk() as talk:
            subscribed = await talk.ask(op="subscribe", channel="lobby")
            epoch, offset = subscribed["epoch"], subscribed["offset"]
            await plain.send("from a plain client")
            assert await plain.recv() == "Message: from a plain client"
            assert (await talk.hear())["data"] == "Message: from a plain client"
            await talk.say(op="publish", channel="lobby", data="from JSON", id=7)
            heard = {one["op"]: one for one in (await talk.hear(), await talk.hear())}  # in either order
            assert (heard["published"]["offset"], heard["published"]["id"]) == (offset + 2, 7)
            assert heard["message"]["data"] == "from JSON"
            assert await plain.recv() == "from JSON"
            answer = await here.request("POST", "/publish/lobby", b"from POST", headers={"content-type": "text/plain"})
            assert (answer.status, answer.json["offset"]) == (200, offset + 3)
            assert await plain.recv() == "from POST"
        async with here.events(f"/sse/lobby?since={epoch}:{offset + 1}") as events:
            data: list[str] = []
            while len(data) < 2:
                event = await events.next()
                assert event is not None
                if event.name == "message":
                    data.append(event.data)
            assert data == ["from JSON", "from POST"]


async def test_all_workers_are_one_picture(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Redis: lists, figures and metrics of any worker have the others, and any closes a client of any."""
    patient(monkeypatch)
    await server.ready()
    workers = [Broadcaster(backplane=server.url, backplane_prefix="fleet") for _ in range(2)]
    async with running(app_of(workers[0].router)) as here, running(app_of(workers[1].router)) as there:  # noqa: SIM117
        async with await here.talk() as one, await there.talk() as two:
            await two.ask(op="subscribe", channel="lobby")
            names = sorted(talk.welcome["client"].partition("-")[0] for talk in (one, two))
            clients: dict[str, Any] = {}
            while [worker["worker"] for worker in clients.get("workers", ())] != names:  # until each has a card
                clients = (await here.request("GET", "/clients")).json
            assert (sorted(client["worker"] for client in clients["clients"]), clients["silent"]) == (names, [])
            (channel,) = (await here.request("GET", "/channels")).json["channels"]
            assert (channel["name"], channel["clients"]) == ("lobby", 1)
            told = (await there.request("GET", "/stats?scope=all")).json
            assert (told["now"]["clients"], [worker["worker"] for worker in told["workers"]]) == (2, names)
            metrics = (await here.request("GET", "/metrics")).body.decode()
            assert all(f'fanwise_clients{{worker="{name}"}} 1.0' in metrics for name in names)
            assert (await here.request("DELETE", f"/clients/{two.welcome['client']}")).status == 204
            clients = (await there.request("GET", "/clients")).json
            assert (clients["total"], clients["closed"][0]["id"]) == (1, two.welcome["client"])


async def test_users_of_all_workers_are_present(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Redis: a user on two workers joins once and leaves with the last connection."""
    patient(monkeypatch)
    monkeypatch.setattr("fanwise.broadcaster.elsewhere.POLL_SECONDS", 0.05)
    await server.ready()
    access = Access(identify=lambda connection: connection.headers.get("x-user"))
    workers = [
        Broadcaster(backplane=server.url, backplane_prefix="presence", access=access, trim_heap=False) for _ in range(2)
    ]
    async with running(app_of(workers[0].router)) as here, running(app_of(workers[1].router)) as there:  # noqa: SIM117
        async with await here.talk() as watcher, await there.talk(additional_headers={"X-User": "ada"}) as one:
            await one.ask(op="subscribe", channel="a")
            await watcher.ask(op="subscribe", channel="a", presence=True)
            assert await watcher.hear() == {"op": "presence_gap", "channel": "a", "users": 1}
            async with await here.talk(additional_headers={"X-User": "ada"}) as two:
                await two.ask(op="subscribe", channel="a")
                found = (await there.request("GET", "/channels/a/presence")).json
                assert (found["clients"], found["members"]) == (3, [{"id": "ada", "info": None}])
            await one.ask(op="unsubscribe", channel="a")
            assert await watcher.hear() == {"op": "leave", "channel": "a", "id": "ada"}


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine(publish_seconds=0.3)


@pytest.fixture
async def nodes(engine: MemoryEngine) -> tuple[Broadcaster, Broadcaster]:
    return Broadcaster(backplane=engine.backplane()), Broadcaster(backplane=engine.backplane())


@pytest.fixture
async def servers(nodes: tuple[Broadcaster, Broadcaster]) -> AsyncIterator[tuple[Live, Live]]:
    one, two = nodes
    async with running(app_of(one.router)) as here, running(app_of(two.router)) as there:
        yield here, there


async def test_publications_of_a_connection_wait_together(engine: MemoryEngine) -> None:
    """So many of them; answers, errors among them, come in the order of the operations."""
    engine.publish_seconds = 60.0
    backplane = engine.backplane()
    async with running(app_of(Broadcaster(backplane=backplane).router)) as live, await live.talk() as talk:
        engine.stall()
        for number in range(100):
            await talk.say(op="publish", channel="lobby", data=number, id=number)
            if number == 9:
                await talk.say(op="publish", channel="no good", data="x", id=1000)
        await talk.say(op="fly")
        await talk.say(op="subscribe", channel="lobby")
        await until(lambda: backplane._room is not None and len(backplane._room) == IN_FLIGHT - 1)  # and the error
        engine.stall(stalled=False)
        answers = [await talk.hear() for _ in range(103)]
    assert [one["id"] for one in answers[:101]] == [*range(10), 1000, *range(10, 100)]
    assert [one["offset"] for one in answers[:101] if one["op"] == "published"] == list(range(1, 101))
    assert (answers[10]["code"], answers[101]["code"]) == ("bad_channel", "unknown_op")
    assert (answers[102]["op"], answers[102]["offset"]) == ("subscribed", 100)


async def test_what_is_not_published_is_told(engine: MemoryEngine, servers: tuple[Live, Live]) -> None:
    """In the JSON dialect and over HTTP as `backplane_down`; the plain dialect has only its end."""
    here, _ = servers
    async with await here.connect() as plain, await here.talk() as talk:
        engine.stall()
        await plain.send("lost")
        failed = [await talk.ask(op="publish", channel="lobby", data="lost", id=number) for number in range(2)]
        assert [(one["op"], one["code"], one["id"]) for one in failed] == [
            ("error", "backplane_down", number) for number in range(2)
        ]
        with pytest.raises(ConnectionClosed) as closed:
            await plain.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4011, CloseReason.BACKPLANE.text)
        answer = await here.request("POST", "/publish/lobby", b"lost")
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "backplane_down", "5")
        engine.stall(stalled=False)
        assert (await talk.ask(op="publish", channel="lobby", data="here"))["offset"] == 1


async def test_a_server_without_its_engine_is_alive_and_not_ready(
    engine: MemoryEngine, nodes: tuple[Broadcaster, Broadcaster], servers: tuple[Live, Live]
) -> None:
    """After two seconds, so that a link that breaks for a moment takes no server out of its balancer."""
    here, _ = servers
    assert (await here.request("GET", "/readyz")).json == {"ready": True}
    engine.stall()
    assert (await here.request("GET", "/readyz")).status == 200
    assert engine.stalled_at is not None
    engine.stalled_at -= 2
    answer = await here.request("GET", "/readyz")
    assert (answer.status, answer.json) == (503, {"ready": False, "why": "backplane"})
    assert (await here.request("GET", "/healthz")).status == 200
    engine.stall(stalled=False)
    assert (await here.request("GET", "/readyz")).status == 200
    await nodes[0].drain(seconds=0)
    assert (await here.request("GET", "/readyz")).json == {"ready": False, "why": "draining"}


async def test_new_clients_of_unknown_channels_are_refused_without_the_engine(
    engine: MemoryEngine, servers: tuple[Live, Live]
) -> None:
    """Those of open channels are taken in."""
    here, _ = servers
    async with await here.connect():
        engine.stall()
        async with await here.connect(), await here.talk() as talk:
            assert (await talk.ask(op="subscribe", channel="lobby"))["op"] == "subscribed"
            assert (await talk.ask(op="subscribe", channel="other"))["code"] == "backplane_down"
        for path in ("/sse/other", "/channels/other/history"):
            answer = await here.request("GET", path)
            assert (answer.status, answer.code) == (503, "backplane_down")


async def test_the_engine_is_in_the_figures(engine: MemoryEngine, servers: tuple[Live, Live]) -> None:
    """How it stands, and what was counted of it: in `/stats`, of one worker and of all, and in `/metrics`."""
    here, there = servers
    await here.request("POST", "/publish/lobby", b"x")
    async with await there.connect():
        await here.request("POST", "/publish/lobby", b"y")
        told = (await there.request("GET", "/stats")).json["backplane"]
        expected = {"up": True, "engine": "memory", "why": "", "behind": 0, "published": 0, "received": 2, "skipped": 1}
        assert told | expected == told
        everybody = (await there.request("GET", "/stats?scope=all")).json["backplane"]
        assert (everybody["up"], everybody["published"], everybody["received"]) == (True, 2, 4)
        engine.stall()
        told = (await here.request("GET", "/stats")).json["backplane"]
        assert (told["up"], told["why"]) == (False, "it is stalled")
        metrics = (await here.request("GET", "/metrics")).body.decode()
        for line in ("up{0} 0.0", "published_total{0} 2.0", "links_total{0} 1.0", "publish_seconds_count{0} 2.0"):
            name, _, value = line.partition("{0}")
            assert re.search(rf'^fanwise_backplane_{name}{{worker="[0-9a-f]{{8}}"}}{value}$', metrics, re.MULTILINE)


async def test_a_request_is_known_on_every_server(servers: tuple[Live, Live]) -> None:
    """One payload or a batch: sent again elsewhere it gets its first positions; another request is refused."""
    here, there = servers
    key = {"Idempotency-Key": "k1"}
    first = await here.request("POST", "/publish/lobby", b"x", headers=key)
    for live in (there, here, there):
        assert (await live.request("POST", "/publish/lobby", b"x", headers=key)).json == first.json
    for live in servers:
        other = await live.request("POST", "/publish/lobby", b"y", headers=key)
        assert (other.status, other.code) == (422, "idempotency_key_reused")
    body = json.dumps([{"channel": name, "data": name} for name in ("lobby", "other", "no good", "lobby")]).encode()
    batches = [await live.request("POST", "/publish", body, headers={"Idempotency-Key": "k2"}) for live in servers]
    assert batches[0].json == batches[1].json
    results = batches[0].json["results"]
    assert [one.get("offset") for one in results] == [2, 1, None, 3]
    assert results[2]["error"]["code"] == "bad_channel"


async def test_a_batch_that_was_not_taken_may_be_sent_again(engine: MemoryEngine, servers: tuple[Live, Live]) -> None:
    """With its key: what was published stays so. All its entries wait together, and for no longer than one."""
    here, _ = servers
    body = json.dumps([{"channel": "lobby", "data": number} for number in range(100)]).encode()
    key = {"Idempotency-Key": "k"}
    engine.stall()
    failed = await here.request("POST", "/publish", body, headers=key)
    assert {one["error"]["code"] for one in failed.json["results"]} == {"backplane_down"}
    engine.stall(stalled=False)
    for _ in range(2):
        done = await here.request("POST", "/publish", body, headers=key)
        assert [one["offset"] for one in done.json["results"]] == list(range(1, 101))


async def test_rights_keep_the_order_of_a_batch(engine: MemoryEngine) -> None:
    """However long each takes to be asked for; what is refused is left out."""
    asked = 0

    async def authorise(_: User | None, action: Action, channel: str) -> bool:
        nonlocal asked
        asked += 1
        for _turn in range(asked % 3):
            await asyncio.sleep(0)
        return channel == "lobby" and action is Action.PUBLISH

    broadcaster = Broadcaster(backplane=engine.backplane(), access=Access(authorise=authorise))
    names = ["lobby", "lobby", "other", "lobby", "no good", "lobby", "lobby"]
    async with running(app_of(broadcaster.router)) as live:
        body = json.dumps([{"channel": name, "data": number} for number, name in enumerate(names)]).encode()
        results = (await live.request("POST", "/publish", body)).json["results"]
    assert [one.get("offset") for one in results] == [1, 2, None, 3, None, 4, 5]
    assert [one["error"]["code"] for one in results if "error" in one] == ["forbidden", "bad_channel"]


async def test_an_entry_of_a_thousand_mistakes_makes_one_error(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many fields, or tags, are refused before pydantic sees them, where rights are asked first too."""
    looked_at: list[Any] = []
    validate = Entry.model_validate

    def look(fields: Any) -> Entry:
        looked_at.append(fields)
        return validate(fields)

    monkeypatch.setattr(Entry, "model_validate", look)
    many = {f"k{number}": number for number in range(1_000)}
    good = {"channel": "a", "data": 1}
    broadcaster = Broadcaster(backplane=engine.backplane(), access=Access(authorise=lambda *_: True))
    async with running(app_of(broadcaster.router)) as live:
        body = json.dumps([{**good, **many}, {**good, "tags": many}, good]).encode()
        results = (await live.request("POST", "/publish", body)).json["results"]
    assert [one["error"]["code"] for one in results if "error" in one] == ["bad_entry", "bad_tags"]
    assert looked_at == [good, good]


async def test_history_is_that_of_all_servers(servers: tuple[Live, Live]) -> None:
    """Where the channel was never open, or is open from its head on."""
    here, there = servers
    for number in range(5):
        published = await here.request("POST", "/publish/lobby", b"%d" % number)
    async with await there.connect():  # it stands at the head
        for query, texts in (
            ("", "01234"),
            ("?since=3", "34"),
            (f"?since=1&epoch={published.json['epoch']}", "1234"),
        ):
            answer = (await there.request("GET", f"/channels/lobby/history{query}")).json
            assert "".join(one["data"] for one in answer["messages"]) == texts
            assert (answer["head"], answer["gap"]) == (5, None)
    lost = (await there.request("GET", "/channels/lobby/history?since=3&epoch=gone")).json
    assert (len(lost["messages"]), lost["gap"]["reason"]) == (5, "epoch")


async def test_asking_about_unknown_channels_opens_none(engine: MemoryEngine, servers: tuple[Live, Live]) -> None:
    """Neither in the engine nor here; a listener opens one, which has no history before its first publication."""
    here, there = servers
    listed = (await here.request("GET", "/channels")).json
    for number in range(20):
        for query in ("", "?since=3", "?since=3&epoch=gone"):
            unknown = await here.request("GET", f"/channels/new.{number}/history{query}")
            assert (unknown.status, unknown.code) == (404, "no_channel")
        nobody = await here.request("GET", f"/channels/new.{number}/presence")
        assert (nobody.status, nobody.json["clients"], nobody.json["truncated"]) == (200, 0, False)
    assert not [name for name in engine._channels if name.startswith("new")]
    assert (await here.request("GET", "/channels")).json == listed
    async with there.events("/sse/new.1"):
        await until(lambda: "new.1" in engine._channels)
        assert (await here.request("GET", "/channels/new.1/history")).code == "no_channel"
        history = await there.request("GET", "/channels/new.1/history")
        assert (history.status, history.json["messages"]) == (200, [])
    assert (await here.request("GET", "/channels")).json["total"] == listed["total"] + 1


async def test_an_event_stream_goes_on_elsewhere(servers: tuple[Live, Live]) -> None:
    """A browser sends its Last-Event-ID to another server, which never had the channel."""
    here, there = servers
    for number in range(4):
        await here.request("POST", "/publish/lobby", b"%d" % number)
    async with here.events("/sse/lobby?since=x:0") as events:
        ids: dict[str, str] = {}
        while len(ids) < 4:
            event = await events.next()
            assert event is not None
            ids.update({event.data: event.id} if event.name == "message" else {})
    async with there.events("/sse/lobby", headers={"Last-Event-ID": ids["1"]}) as events:
        data: list[str] = []
        while len(data) < 2:
            event = await events.next()
            assert event is not None
            data += [event.data] if event.name == "message" else []
            assert event.name != "gap"
        assert data == ["2", "3"]
