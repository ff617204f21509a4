from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, WebSocket

from fanwise.routes.demo.clients import Clients
from fanwise.routes.demo.stream import Stream
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
    async def clients(self, port: int, number: int) -> AsyncIterator[Clients]:
        handshake = Handshake(urlsplit(f"ws://127.0.0.1:{port}/ws"), subprotocol=None)
        clients = Clients(
            number, target=local(port), handshake=handshake, stream=Stream(monotonic()), on_restart=self.restart
        )
        opening = asyncio.create_task(clients.open())
        try:
            yield clients
        finally:
            opening.cancel()
            clients.leave()
            await asyncio.wait({opening})


async def test_clients_come_and_leave() -> None:
    """And when all have gone nothing is left."""
    house = House()
    async with running(house.app) as live:
        before = sockets_before()
        async with house.clients(live.port, 6) as clients:
            assert not clients.connected
            await until(lambda: clients.connected and len(house.here) == 6)
            status = clients.status(monotonic())
            assert (status["healthy"]["clients"], len(status["clients"])) == (6, 6)
        await until(lambda: not house.here and sockets() <= before)
        assert (clients.drops, house.came, house.restarts) == (0, 6, 0)
        assert clients.status(monotonic())["clients"] == []


async def test_who_was_closed_comes_back() -> None:
    """After a second or two, as the same client; it counts as a drop."""
    house = House()
    async with running(house.app) as live, house.clients(live.port, 2) as clients:
        await until(lambda: len(house.here) == 2 and clients.connected)
        closed = monotonic()
        one, other = house.here
        for connection in list(live.server.server_state.connections):
            if connection.transport.get_extra_info("peername") == other.client:
                connection.transport.abort()
        await one.close(4009)
        await until(lambda: clients.drops == 2)
        await until(lambda: clients.connected)
        assert monotonic() - closed > 0.9
        assert sorted(client["code"] for client in clients.status(monotonic())["clients"]) == [1006, 4009]
        assert (house.came, house.restarts) == (4, 0)


async def test_who_was_refused_tries_again() -> None:
    """That is no drop: it was not there."""
    house = House()
    house.closed = True
    async with running(house.app) as live, house.clients(live.port, 1) as clients:
        await until(lambda: house.came == 1)
        house.closed = False
        await until(lambda: len(house.here) == 1)
        assert clients.drops == 0


async def test_who_went_does_not_come_back() -> None:
    """Not when its time comes."""
    house = House()
    async with running(house.app) as live, house.clients(live.port, 2) as clients:
        await until(lambda: len(house.here) == 2)
        await house.here[0].close(4008)
        await until(lambda: clients.drops == 1)
        assert len(clients._returning) == 1
        clients.leave()
        assert clients._returning == {}
        await until(lambda: not house.here)
        assert house.came == 2


async def test_a_server_that_stops_is_heard() -> None:
    """The code of a restart is told."""
    house = House()
    async with running(house.app) as live, house.clients(live.port, 1) as clients:
        await until(lambda: len(house.here) == 1 and clients.connected)
        await house.here[0].close(1012)
        await until(lambda: house.restarts == 1)


async def test_they_come_one_after_the_other() -> None:
    """Two hundred of them do not hold the loop: never are two handshakes under way."""
    house = House()
    async with running(house.app) as live, house.clients(live.port, 200) as clients:

        def all_here() -> bool:
            connections = len(live.server.server_state.connections)
            house.most = max(house.most, connections - clients.status(monotonic())["healthy"]["clients"])
            return len(house.here) == 200

        await until(all_here)
        assert house.most <= 2


async def test_silent_clients_are_not_fast_ones() -> None:
    """Nothing is said of ages before the first message; after a second of silence they are the silence."""
    house = House()
    async with running(house.app) as live, house.clients(live.port, 2) as clients:

        def healthy() -> dict[str, Any]:
            return dict(clients.status(monotonic())["healthy"])

        assert healthy()["p50_seconds"] is None
        await until(lambda: healthy()["p50_seconds"] is not None)
        seen = healthy()
        assert seen["silent_seconds"] >= 1
        assert seen["p50_seconds"] == seen["p99_seconds"] >= 1
        assert seen["received_per_second"] == 0
