from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import fanwise.routes.demo.run
from fanwise.broadcaster.node import Node
from fanwise.core.reasons import CloseReason
from fanwise.routes.demo.plan import Plan
from fanwise.routes.demo.routes import DemoStatus
from fanwise.routes.demo.run import Run

from ...support.demo import Staged, sockets, sockets_before, staged
from ...support.live import until

pytestmark = pytest.mark.anyio


def plan(**more: Any) -> Plan:
    return Plan.model_validate({"clients": 6, "rate": 100, "size": 4096} | more)


def begin(here: Staged, wanted: Plan) -> Run:
    run = Run(wanted, target=here.target, broadcaster=here.broadcaster)
    here.demo._run = run  # whose clients are let into the tutorial loop
    return run


def side(run: Run, mode: str) -> dict[str, Any]:
    status = run.status()
    DemoStatus.model_validate(status)
    found: dict[str, Any] = status["sides"][mode]
    return found


async def test_both_sides_deliver_alike_while_all_read() -> None:
    """The same messages, to the same number of clients, in the same time; only one side is of Fanwise."""
    async with staged() as here:
        run = begin(here, plan())
        await until(lambda: run.status()["phase"] == "calm")
        sides = ("tutorial", "fanwise")
        await until(lambda: all(side(run, mode)["clients"][0]["received"] > 20 for mode in sides))
        for mode in sides:
            seen = side(run, mode)
            everybody = [*seen["clients"], seen["stopping"]]
            assert [client["connected"] for client in everybody] == [True] * 6
            assert max(client["missing"] for client in everybody) <= 5
            assert 0 < seen["healthy"]["p50_seconds"] <= seen["healthy"]["p99_seconds"]
            assert (seen["healthy"]["clients"], seen["drops"]) == (5, 0)
        assert len(here.broadcaster) == 6
        status = run.status()
        assert (status["running"], status["rate"], status["size"]) == (True, 100, 4096)
        await run.close()
        assert not run.status()["running"]


async def test_the_story_is_told_to_its_end() -> None:
    """One stops reading: the loop delivers nothing any more. Fanwise delivers, drops that one, and takes it back."""
    async with staged(broadcaster=Node(history_bytes=2**24)) as here:
        run = begin(here, plan(size=16_384))
        await until(lambda: run.status()["phase"] == "dropped")
        frozen, flowing = side(run, "tutorial"), side(run, "fanwise")
        assert flowing["stopping"]["reason"] == f"{CloseReason.SLOW.code} slow"
        assert frozen["publishing_seconds"] > 0
        assert frozen["stopping"]["connected"]
        await run.over.wait()
        ended = run.status()
        assert (ended["running"], ended["phase"]) == (False, "over")
        loop, fanwise = ended["sides"]["tutorial"], ended["sides"]["fanwise"]
        assert loop["published"] == frozen["published"]
        assert loop["healthy"]["received_per_second"] == 0
        assert loop["healthy"]["silent_seconds"] > 5
        assert loop["waiting"] > 300
        stopping = fanwise["stopping"]
        assert (stopping["returned"], stopping["lost"]) == (True, 0)
        assert stopping["retained"] > 100
        assert stopping["missing"] < 50, stopping
        assert fanwise["drops"] == 0
        assert max(client["missing"] for client in fanwise["clients"]) < 50
        assert fanwise["healthy"]["silent_seconds"] < loop["healthy"]["silent_seconds"]
        assert here.broadcaster.tally.closed[CloseReason.SLOW] == 1
        await run.close()
        assert run.status() == ended, "what was seen stays as it was"


async def test_everything_is_given_back() -> None:
    """Tasks, sockets and places in lists, also when a publication is stuck and a client is behind."""
    async with staged() as here:
        connections = here.live.server.server_state.connections
        before, tasks = sockets_before(), len(asyncio.all_tasks())
        run = begin(here, plan(clients=20, size=16_384))
        await until(lambda: side(run, "tutorial")["publishing_seconds"] > 0.2)
        assert sockets() == before + 80  # both ends, on both sides
        await run.close()
        assert all(task.done() for task in run._tasks)
        await until(lambda: not connections and sockets() <= before)
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        assert (len(here.broadcaster), run.tutorial.clients) == (0, [])


async def test_a_story_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, whatever its script does."""
    monkeypatch.setattr(fanwise.routes.demo.run, "STORY_SECONDS", 0.1)
    async with staged() as here:
        run = begin(here, plan())
        await run.over.wait()
        assert run.status()["phase"] != "over"
        await run.close()


async def test_a_run_whose_publishing_fails_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """And the log says why, once."""
    async with staged(broadcaster=Node(max_message_bytes=100)) as here:
        with caplog.at_level(logging.ERROR, "fanwise"):
            run = begin(here, plan())
            await run.over.wait()
            await run.close()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "the demo's fanwise publisher failed: MessageTooBigError(4096, 100)" in caplog.text
