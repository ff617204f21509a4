from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fanwise.broadcaster.node import Node
from fanwise.core.reasons import CloseReason
from fanwise.routes.demo.plan import Plan
from fanwise.routes.demo.run import CHANNEL, Run

from ...support.demo import Staged, of_kind, sockets, sockets_before, staged
from ...support.live import until

pytestmark = pytest.mark.anyio

MODES = pytest.mark.parametrize("mode", ["fanwise", "tutorial"])


def plan(mode: Any, **more: Any) -> Plan:
    return Plan.model_validate({"mode": mode, "clients": 5, "rate": 200, "size": 4096} | more)


def begin(here: Staged, wanted: Plan, *, forget_seconds: float = 3600) -> Run:
    show = Run(wanted, target=here.target, broadcaster=here.broadcaster, forget_seconds=forget_seconds)
    here.demo._run = show  # whose clients are let into the tutorial loop
    return show


def everybody(show: Run) -> list[dict[str, Any]]:
    clients: list[dict[str, Any]] = show.status()["clients"]
    return clients


@MODES
async def test_everybody_gets_everything(mode: str) -> None:
    """While all of them read, the two modes look the same."""
    async with staged() as here:
        show = begin(here, plan(mode))
        await until(lambda: all(client["received"] > 20 for client in everybody(show)))
        told = show.status()
        assert (told["running"], told["mode"], told["rate"], told["size"]) == (True, mode, 200, 4096)
        assert (told["healthy"]["clients"], told["drops"]) == (5, 0)
        assert 0 < told["healthy"]["p50_seconds"] <= told["healthy"]["p99_seconds"]
        assert told["healthy"]["received_per_second"] > 0
        assert all(client["missing"] <= 1 for client in everybody(show))
        assert len(here.broadcaster) == (5 if mode == "fanwise" else 0)
        await show.close()
        assert not show.status()["running"]


async def test_fanwise_goes_on_when_somebody_stops_reading() -> None:
    """The stalled one is behind, the healthy ones are not, and go on after that."""
    patient = Node(queue_messages=10_000, queue_bytes=2**27, stall_seconds=600)
    async with staged(broadcaster=patient) as here:
        show = begin(here, plan("fanwise", clients=8, stalled=1))
        await until(lambda: of_kind(show.status(), "stalled")[0]["missing"] > 200)
        stuck_at = show.status()["published"]
        await until(lambda: show.status()["published"] > stuck_at + 200)
        await until(lambda: all(client["missing"] < 20 for client in of_kind(show.status(), "healthy")))
        told = show.status()
        (stalled,) = of_kind(told, "stalled")
        assert all(client["received"] > stuck_at for client in of_kind(told, "healthy"))
        assert told["healthy"]["silent_seconds"] < stalled["silent_seconds"]
        assert told["healthy"]["p99_seconds"] < stalled["silent_seconds"]
        assert [client.state for client in patient.inspect.clients()].count("behind") == 1
        assert told["drops"] == 0
        await show.close()


async def test_the_tutorial_loop_stops_when_somebody_stops_reading() -> None:
    """All the healthy ones get nothing any more, and nothing is published; ages say so."""
    async with staged() as here:
        show = begin(here, plan("tutorial", clients=8, stalled=1))
        await until(lambda: show.status()["publishing_seconds"] > 1.5)
        before = show.status()
        await until(lambda: show.status()["publishing_seconds"] > 2)
        told = show.status()
        assert told["published"] == before["published"]
        assert told["healthy"]["clients"] == 7
        assert told["healthy"]["silent_seconds"] > 1.9
        assert all(client["silent_seconds"] > 1.9 for client in of_kind(told, "healthy"))
        assert told["healthy"]["p50_seconds"] == told["healthy"]["p99_seconds"]
        assert told["healthy"]["p99_seconds"] > 1.9
        assert told["healthy"]["received_per_second"] == 0
        await show.close()


@MODES
async def test_everything_is_given_back(mode: str) -> None:
    """Tasks, sockets and places in lists, also when a publication is stuck and clients are behind."""
    async with staged() as here:
        connections = here.live.server.server_state.connections
        before, tasks = sockets_before(), len(asyncio.all_tasks())
        show = begin(here, plan(mode, clients=20, slow=2, stalled=2, size=16_384))
        if mode == "tutorial":
            await until(lambda: show.status()["publishing_seconds"] > 0.2)
        else:
            await until(lambda: show.status()["clients"][-1]["missing"] > 100)
        assert sockets() == before + 40  # both ends
        await show.close()
        assert all(task.done() for task in show._tasks)
        await until(lambda: not connections and sockets() <= before)
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        assert (len(here.broadcaster), everybody(show)) == (0, [])
        assert show.tutorial is None or show.tutorial.clients == []


async def test_a_show_that_ends_leaves_no_lost_clients() -> None:
    """A client that reads closes its connection; only the stalled one is lost to the server.

    Bytes that a client has not read make its kernel send a reset behind the close frame: slow clients are left out, and
    the others have read everything.
    """
    async with staged() as here:
        show = begin(here, plan("fanwise", clients=12, slow=0, stalled=1))
        await until(lambda: all(client["received"] > 0 for client in of_kind(show.status(), "healthy")))
        await until(lambda: len(here.broadcaster) == 12)
        (publisher,) = (task for task in show._tasks if task.get_name() == "fanwise demo publisher")
        publisher.cancel()  # a publication that is written to a client which has left makes that lost
        await until(lambda: all(client["missing"] == 0 for client in of_kind(show.status(), "healthy")))
        await show.close()
        await until(lambda: len(here.broadcaster) == 0)
        closed = here.broadcaster.tally.closed
        assert (closed[CloseReason.NORMAL], closed[CloseReason.LOST]) == (11, 1)


async def test_a_plan_can_change_while_it_runs() -> None:
    """Clients come and go, and what is published changes; nobody else is touched."""
    async with staged() as here:
        show = begin(here, plan("fanwise"))
        await until(lambda: all(client["received"] > 20 for client in everybody(show)))
        show.change(plan("fanwise", clients=6, slow=1, stalled=2, size=64, rate=100))
        assert [client["kind"] for client in everybody(show)] == ["healthy"] * 3 + ["slow"] + ["stalled"] * 2
        assert all(client["received"] > 20 for client in of_kind(show.status(), "healthy"))
        await until(lambda: all(client["connected"] for client in everybody(show)))
        channel = here.broadcaster.inspect.channel(CHANNEL)
        assert channel is not None
        head, size = channel.head, show.status()["size"]
        await until(lambda: (here.broadcaster.inspect.channel(CHANNEL) or channel).head > head + 1)
        found = here.broadcaster.inspect.history(CHANNEL, limit=1000)
        assert found is not None
        assert (size, len(found.publications[-1].payload)) == (64, 64)
        await show.close()


async def test_a_forgotten_show_ends() -> None:
    """By itself; a change is a sign of life."""
    async with staged() as here:
        show = begin(here, plan("fanwise"), forget_seconds=0.2)
        show._forget_seconds = 3600
        show.change(plan("fanwise", clients=3))
        await until(lambda: show.status()["published"] > 60)  # 0.3 s
        assert not show.over.is_set()
        show._forget_seconds = 0.01
        show.change(plan("fanwise", clients=3))
        await show.over.wait()
        await show.close()
        assert everybody(show) == []


async def test_a_show_whose_publishing_fails_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """And the log says why, once."""
    async with staged(broadcaster=Node(max_message_bytes=100)) as here:
        with caplog.at_level(logging.ERROR, "fanwise"):
            show = begin(here, plan("fanwise"))
            await show.over.wait()
            await show.close()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "the demo's publisher failed: MessageTooBigError(4096, 100)" in caplog.text
        assert everybody(show) == []
