from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest

from fanwise.routes.demo.plan import Plan
from fanwise.routes.demo.routes import SideStatus
from fanwise.routes.demo.side import Side
from fanwise.routes.demo.stream import Stream
from fanwise.routes.json_models import SUBPROTOCOL

from ...support.demo import Staged, staged
from ...support.live import until

pytestmark = pytest.mark.anyio


class Here:
    """A side that is served by a channel; `reasons` are those of the server, by address."""

    def __init__(self, staged: Staged) -> None:
        self.staged = staged
        self.stream = Stream(monotonic())
        self.reasons: dict[str, str] = {}
        self.restarts = 0
        target = staged.target
        self.side = Side(
            Plan(clients=4, rate_per_second=20, size_bytes=64),
            stream=self.stream,
            publish=lambda text: staged.broadcaster.publish("a", text),
            target=target,
            url=target.url("/ws", "channel=a"),
            on_restart=self.restart,
            channel="a",
            subprotocol=SUBPROTOCOL,
            reason_of=self.reasons.get,
        )

    def restart(self) -> None:
        self.restarts += 1

    def status(self) -> dict[str, Any]:
        status = self.side.status()
        SideStatus.model_validate(status)
        return status

    def is_dropped(self) -> bool:
        return self.side.dropped

    def publish(self) -> None:
        self.side.publisher.offer(self.stream.stamp(monotonic()))


@asynccontextmanager
async def side() -> AsyncIterator[Here]:
    async with staged() as running:
        here = Here(running)
        tasks = {asyncio.create_task(here.side.open()), asyncio.create_task(here.side.publisher.run())}
        try:
            yield here
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await here.side.close()
            await until(lambda: len(running.broadcaster) == 0)


async def test_all_clients_get_all_messages() -> None:
    """The one that will stop is one of them."""
    async with side() as here:
        assert not here.side.connected
        await until(lambda: here.side.connected and len(here.staged.broadcaster) == 4)
        here.publish()
        here.publish()
        await until(lambda: here.status()["stopping"]["received"] == 2)
        await until(lambda: [client["received"] for client in here.status()["clients"]] == [2] * 3)
        assert (here.side.publisher.published, here.status()["waiting"], here.is_dropped()) == (2, 0, False)


async def test_the_one_that_stops_is_dropped_and_comes_back() -> None:
    """The reason is the server's; it is kept when the client has another address."""
    async with side() as here:
        await until(lambda: here.side.connected and len(here.staged.broadcaster) == 4)
        here.publish()
        await until(lambda: here.status()["stopping"]["received"] == 1)
        here.reasons[here.side._stopping.address] = "4008 slow"
        assert not here.is_dropped(), "it still reads"
        here.side.stop_one()
        assert here.is_dropped()
        here.publish()
        await until(lambda: here.status()["clients"][0]["received"] == 2)
        here.side.bring_back()
        await until(lambda: here.status()["stopping"]["retained"] == 1)
        assert not here.side.caught_up
        here.publish()
        await until(lambda: here.side.caught_up)
        stopping = here.status()["stopping"]
        assert (stopping["reason"], stopping["returned"], stopping["missing"]) == ("4008 slow", True, 0)


async def test_one_that_is_gone_is_dropped_too() -> None:
    """Where the server gives no reason for it."""
    async with side() as here:
        await until(lambda: here.side.connected and len(here.staged.broadcaster) == 4)
        here.side.stop_one()
        assert not here.is_dropped()
        peer = here.side._stopping.address
        for connection in list(here.staged.live.server.server_state.connections):
            host, port = connection.transport.get_extra_info("peername")
            if f"{host}:{port}" == peer:
                connection.transport.abort()
        await until(here.is_dropped)
        assert here.status()["stopping"]["reason"] is None
        assert here.restarts == 0


async def test_one_that_is_refused_tries_again() -> None:
    """Until it is let in; the others come after it."""
    async with staged() as running:
        here = Here(running)
        running.broadcaster.draining = True
        opening = asyncio.create_task(here.side.open())

        def refused() -> bool:
            return sum(running.broadcaster.tally.rejected.values()) > 0

        await until(lambda: here.side._stopping._connection is not None and refused())
        running.broadcaster.draining = False
        await until(lambda: here.side.connected)
        opening.cancel()
        await asyncio.wait({opening})
        await here.side.close()
