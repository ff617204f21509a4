from __future__ import annotations

import random
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import ClientConnection

from fanwise import Broadcaster, Client
from fanwise.backplane.memory import MemoryEngine
from fanwise.broadcaster.client import State
from fanwise.broadcaster.node import Node
from fanwise.core.dialect import JSON, PLAIN

from ..support.fakes import FakeSink
from ..support.live import Live, app_of, running, until

pytestmark = pytest.mark.anyio


class Stage:
    """A server whose route `/ws` makes clients of the plain dialect, in the order in which they come."""

    def __init__(self, **settings: Any) -> None:
        self.broadcaster = Broadcaster(**settings)
        self.clients: list[Client] = []
        self.app = FastAPI(lifespan=self.broadcaster.lifespan)
        self.app.add_api_websocket_route("/ws", self.endpoint)

    async def endpoint(self, websocket: WebSocket) -> None:
        async with self.broadcaster.connect(websocket, channel="lobby") as client:
            self.clients.append(client)
            async for _ in client:
                pass

    async def join(self, live: Live, number: int) -> list[ClientConnection]:
        peers = []
        for _ in range(number):
            peers.append(await live.connect())
            await until(lambda: len(self.clients) == len(peers))
        await until(lambda: all(client.state is State.READY for client in self.clients))
        return peers


async def heard(peer: ClientConnection, until_text: str) -> list[str]:
    """What a client gets up to a text, without it."""
    texts: list[str] = []
    while (text := await peer.recv()) != until_text:
        texts.append(str(text))
    return texts


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_the_own_client_gets_nothing_and_the_others_all(fast: bool) -> None:
    """One after the other in one turn, interleaved, and again when all are up to date; nobody is skipped over."""
    stage = Stage()
    async with running(stage.app, fast=fast) as live:
        peers = await stage.join(live, 3)
        for turn in range(3):
            for number in (0, 0, 1, 0, 2, 1):
                stage.broadcaster.publish_nowait("lobby", f"{turn} of {number}", exclude=stage.clients[number])
            await until(lambda: all(client.state is State.READY and not client.lag for client in stage.clients))
        await stage.broadcaster.publish("lobby", "end")
        for own, peer in enumerate(peers):
            expected = [f"{turn} of {number}" for turn in range(3) for number in (0, 0, 1, 0, 2, 1) if number != own]
            assert await heard(peer, "end") == expected
        assert stage.broadcaster.tally.dropped["gap_slow"] == 0
        assert not stage.broadcaster._hub.detours


async def test_alone_in_its_cohort_a_client_stays_ready() -> None:
    """An exclusion of who has everything is a move of one cursor: no state changes, no queue is replaced."""
    stage = Stage()
    async with running(stage.app) as live:
        peers = await stage.join(live, 2)
        one = stage.clients[0]
        queue = one.subscriptions["lobby"].queue
        for number in range(10):
            stage.broadcaster.publish_nowait("lobby", f"{number}", exclude=one)
            assert (one.state, queue.cursor, one.subscriptions["lobby"].queue) == (State.READY, number + 1, queue)
        await stage.broadcaster.publish("lobby", "end")
        assert await heard(peers[0], "end") == []
        assert await heard(peers[1], "end") == [f"{number}" for number in range(10)]


async def test_others_are_excluded_from_nothing() -> None:
    """A client of another channel, one that has gone, an unknown id, and what is no id at all."""
    stage = Stage()
    async with running(stage.app) as live:
        peers = await stage.join(live, 2)
        one = stage.clients[0]
        stage.broadcaster.publish_nowait("other", "elsewhere", exclude=one)
        await peers[1].close()
        await until(lambda: stage.clients[1].state is State.CLOSED)
        for exclude in (stage.clients[1], "0" * 16, "no id\n", ""):
            await stage.broadcaster.publish("lobby", "to all", exclude=exclude)
        await stage.broadcaster.publish("lobby", "end")
        assert (await heard(peers[0], "end"))[:4] == ["to all"] * 4


async def test_a_client_of_the_json_dialect_asks_for_no_echo() -> None:
    """It hears where its publication is, and that nothing is missing there; its offsets go on without a gap."""
    broadcaster = Broadcaster()
    async with running(app_of(broadcaster.router)) as live, await live.talk() as one, await live.talk() as two:
        start = await one.ask(op="subscribe", channel="a")
        await two.ask(op="subscribe", channel="a")
        for talk in (two, one):
            await talk.say(op="publish", channel="a", data=1, echo=talk is two, id="x")
        place = {"channel": "a", "epoch": start["epoch"]}
        mine = [await one.hear() for _ in range(3)]
        assert sorted(mine, key=lambda told: str(told["op"])) == [
            {"op": "message", "channel": "a", "offset": 1, "data": 1},
            {"op": "published", **place, "offset": 2, "id": "x"},
            {"op": "skipped", **place, "offset": 2},
        ]
        assert [(told["op"], told["offset"]) for told in [await two.hear() for _ in range(3)]] == [
            ("published", 1),
            ("message", 1),
            ("message", 2),
        ]
        assert (await one.ask(op="publish", channel="a", data=1, echo=1))["code"] == "wrong_type"


async def test_behind_a_backplane_a_client_of_any_worker_is_excluded() -> None:
    """By the worker that it is on, and through another one by its id; with its engine's history too."""
    engine = MemoryEngine()
    one, two = Stage(backplane=engine.backplane()), Stage(backplane=engine.backplane())
    async with running(one.app) as live, running(two.app) as other:
        (here,), (there,) = await one.join(live, 1), await two.join(other, 1)
        await one.broadcaster.publish("lobby", "own", exclude=one.clients[0])
        await two.broadcaster.publish("lobby", "through another", exclude=one.clients[0].id, key="k")
        engine.lose_frames()
        await two.broadcaster.publish("lobby", "asked for", exclude=one.clients[0].id)
        await one.broadcaster.publish("lobby", "end")
        assert await heard(here, "end") == []
        assert await heard(there, "end") == ["own", "through another", "asked for"]


@pytest.mark.parametrize("seed", range(4))
async def test_of_what_a_filter_lets_through_all_but_the_own_comes(seed: int) -> None:
    """In both dialects, ready or behind, beside clients without a filter; nothing is a gap."""
    rng = random.Random(seed)
    async with Node(queue_messages=5000, cohort_clients=3, slice_bytes=100, stall_seconds=60) as node:
        clients: list[tuple[Client, FakeSink, str | None, list[str]]] = []
        for number in range(12):
            sink, symbol = FakeSink(), "ab"[number % 2] if number < 9 else None
            client = node.add_client(sink, dialect=(PLAIN, JSON)[number % 3 == 0])
            node.subscribe(client, "c", filter=None if symbol is None else {"s": symbol})
            clients.append((client, sink, symbol, []))
        for number in range(400):
            symbol, own = rng.choice("ab"), rng.randrange(12)
            await node.publish("c", f"{number:03}", tags={"s": symbol}, exclude=clients[own][0])
            for place, (_, sink, wanted, expected) in enumerate(clients):
                if place != own and wanted in (None, symbol):
                    expected.append(f"{number:03}")
                if rng.random() < 0.02:
                    sink.pause() if sink.writable else sink.resume()
        for _, sink, *_ in clients:
            sink.resume()
        await until(lambda: all(client.lag == 0 and client.state is State.READY for client, *_ in clients))
        for _, sink, _, expected in clients:
            assert sink.said == expected
        assert not node._hub.detours


async def test_a_detour_of_a_client_that_goes_is_forgotten() -> None:
    stage = Stage()
    async with running(stage.app) as live:
        await stage.join(live, 1)
        one = stage.clients[0]
        for _ in range(2):
            stage.broadcaster.publish_nowait("lobby", "before")
            stage.broadcaster.publish_nowait("lobby", "own", exclude=one)
        assert len(stage.broadcaster._hub.detours) == 1
        one.close()
        assert not stage.broadcaster._hub.detours
