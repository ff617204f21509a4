from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, WebSocket

from fanwise.routes.demo.clients import Clients
from fanwise.routes.demo.stream import Stream
from fanwise.tools.load.behaviour import Behaviour
from fanwise.tools.load.wire import Handshake

from ...support.demo import local, sockets, sockets_before
from ...support.live import running, until

pytestmark = pytest.mark.anyio


class House:
    """An application that takes simulated clients in, and the clients that come to it."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.here: list[WebSocket] = []
        self.came = self.restarts = 0
        self.most = self.opening = 0
        self.closed = False
        self.app.add_api_websocket_route("/ws", self._serve)

    async def _serve(self, websocket: WebSocket) -> None:
        self.came += 1
        if self.closed:
            await websocket.close()
            return
        await websocket.accept()
        self.here.append(websocket)
        try:
            async for _text in websocket.iter_text():
                continue
        finally:
            self.here.remove(websocket)

    def restart(self) -> None:
        self.restarts += 1

    @asynccontextmanager
    async def clients(self, port: int) -> AsyncIterator[Clients]:
        handshake = Handshake(urlsplit(f"ws://127.0.0.1:{port}/ws"), subprotocol=None)
        clients = Clients(local(port), handshake, stream=Stream(monotonic()), on_restart=self.restart)
        opening = asyncio.create_task(clients.open())
        try:
            yield clients
        finally:
            opening.cancel()
            clients.leave()
            await asyncio.wait({opening})


def counts(healthy: int = 0, slow: int = 0, stalled: int = 0) -> dict[Behaviour, int]:
    return {Behaviour.HEALTHY: healthy, Behaviour.SLOW: slow, Behaviour.STALLED: stalled}


def connected(clients: Clients) -> Counter[Behaviour]:
    return Counter(client.kind for client in clients if client.connected)


async def test_clients_come_and_go_as_asked() -> None:
    """Nobody goes who need not, and when all have gone nothing is left."""
    house = House()
    async with running(house.app) as live:
        before = sockets_before()
        async with house.clients(live.port) as clients:
            clients.resize(counts(3, 2, 1))
            await until(lambda: connected(clients) == Counter(counts(3, 2, 1)))
            first = {client for client in clients if client.connected}
            clients.resize(counts(5, 1, 1))
            await until(lambda: connected(clients) == Counter(counts(5, 1, 1)) and len(house.here) == 7)
            assert (len(first & set(clients)), house.came) == (5, 8)
            assert [client["kind"] for client in clients.status()["clients"]] == ["healthy"] * 5 + ["slow", "stalled"]
        await until(lambda: not house.here and sockets() <= before)
        assert (clients.drops, house.restarts, list(clients)) == (0, 0, [])


async def test_who_was_closed_comes_back() -> None:
    """After a second or two, as the same client; it counts as a drop."""
    house = House()
    async with running(house.app) as live, house.clients(live.port) as clients:
        clients.resize(counts(1, 0, 1))
        await until(lambda: connected(clients) == Counter(counts(1, 0, 1)))
        closed = monotonic()
        healthy, stalled = house.here
        for connection in list(live.server.server_state.connections):
            if connection.transport.get_extra_info("peername") == stalled.client:
                connection.transport.abort()
        await healthy.close(4009)
        await until(lambda: clients.drops == 2)
        await until(lambda: connected(clients) == Counter(counts(1, 0, 1)))
        assert monotonic() - closed > 0.9
        assert [client["code"] for client in clients.status()["clients"]] == [
            4009,
            1006,
        ]  # the stalled one reads nothing
        assert (house.came, house.restarts) == (4, 0)


async def test_who_was_refused_tries_again() -> None:
    """That is no drop: it was not there."""
    house = House()
    house.closed = True
    async with running(house.app) as live, house.clients(live.port) as clients:
        clients.resize(counts(1))
        await until(lambda: house.came == 1)
        house.closed = False
        await until(lambda: len(house.here) == 1)
        assert clients.drops == 0


async def test_who_went_does_not_come_back() -> None:
    """Not from the queue, and not when its time comes."""
    house = House()
    async with running(house.app) as live, house.clients(live.port) as clients:
        clients.resize(counts(2))
        await until(lambda: len(house.here) == 2)
        await house.here[0].close(4008)
        await until(lambda: clients.drops == 1)
        clients.resize(counts(0))
        assert clients._returning == {}
        clients.resize(counts(3))
        clients.resize(counts(1))
        clients.resize(counts(2))  # the second one stands behind those who have left the queue
        await until(lambda: connected(clients) == Counter(counts(2)))
        assert house.came == 4


async def test_a_server_that_stops_is_heard() -> None:
    """The code of a restart is told."""
    house = House()
    async with running(house.app) as live, house.clients(live.port) as clients:
        clients.resize(counts(1))
        await until(lambda: len(house.here) == 1)
        await house.here[0].close(1012)
        await until(lambda: house.restarts == 1)


async def test_they_come_one_after_the_other() -> None:
    """Two hundred of them do not hold the loop: never are two handshakes under way."""
    house = House()
    async with running(house.app) as live, house.clients(live.port) as clients:
        clients.resize(counts(200))

        def all_here() -> bool:
            house.most = max(
                house.most, len(live.server.server_state.connections) - connected(clients)[Behaviour.HEALTHY]
            )
            return len(house.here) == 200

        await until(all_here)
        assert house.most <= 2


async def test_a_silent_crowd_is_not_a_fast_one() -> None:
    """Nothing is said of ages before the first message; after a second of silence they are the silence."""
    house = House()
    async with running(house.app) as live, house.clients(live.port) as clients:
        assert clients.status()["healthy"]["p50_seconds"] is None
        clients.resize(counts(1, 1))
        assert clients.status()["healthy"]["p99_seconds"] is None
        await until(lambda: clients.status()["healthy"]["p50_seconds"] is not None)
        healthy = clients.status()["healthy"]
        assert healthy["silent_seconds"] >= 1
        assert healthy["p50_seconds"] == healthy["p99_seconds"] >= 1
        assert (healthy["clients"], healthy["received_per_second"]) == (1, 0)
