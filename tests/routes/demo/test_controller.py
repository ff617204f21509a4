from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Any

import pytest

import fanwise.transport.websocket_protocol
from fanwise.broadcaster.node import Node
from fanwise.errors import DrainingError, FullError, NotRunningError
from fanwise.routes.demo.controller import DemoController
from fanwise.routes.demo.plan import Plan

from ...support.demo import Told, local, sockets, sockets_before, staged
from ...support.live import until

pytestmark = pytest.mark.anyio


def plan(**more: Any) -> Plan:
    return Plan.model_validate({"clients": 3, "size": 4096} | more)


def running(document: dict[str, Any]) -> bool:
    return bool(document["running"])


def ended(document: dict[str, Any]) -> bool:
    return not document["running"]


async def test_it_tells_how_the_story_goes_until_it_has_ended() -> None:
    """Again and again while it runs, and once more at the end."""
    async with staged() as here:
        assert here.demo.status() is None
        assert (await here.demo.play(plan(), here.target))["running"]
        for _ in range(3):
            await here.told.where(running)
        await here.demo.stop()
        assert [ended(document) for document in here.told.documents[-2:]] == [False, True]
        assert here.demo.status() is None
        told = len(here.told.documents)
        await here.demo.stop()
        assert len(here.told.documents) == told


async def test_a_story_that_is_played_is_joined() -> None:
    """Another plan changes nothing, and no second run is made, however many ask at once and by whatever name."""
    async with staged() as here:
        tasks = len(asyncio.all_tasks())
        await here.demo.play(plan(), here.target)
        run = here.demo._run
        await here.told.where(lambda told: told["sides"]["fanwise"]["published"] > 5)
        named = here.target._replace(host=f"localhost:{here.live.port}", prefix="/elsewhere")
        answers = await asyncio.gather(*(here.demo.play(plan(clients=4 + n), named) for n in range(5)))
        assert [len(told["sides"]["fanwise"]["clients"]) for told in answers] == [2] * 5
        assert here.demo._run is run
        await asyncio.gather(*(here.demo.play(plan(), here.target) for _ in range(5)), here.demo.stop())
        await here.demo.stop()
        assert here.demo.status() is None
        assert not here.told.documents[-1]["running"]
        await until(lambda: len(asyncio.all_tasks()) == tasks and len(here.broadcaster) == 0)


async def test_a_story_can_be_stopped_and_started_again() -> None:
    """Also while a publication is stuck: nothing of the story before is left."""
    async with staged() as here:
        before, tasks = sockets_before(), len(asyncio.all_tasks())
        for _ in range(2):
            await here.demo.play(plan(rate=200, size=16_384), here.target)
            await here.told.where(lambda told: told["sides"]["tutorial"]["publishing_seconds"] > 0.2)
            await here.demo.stop()
            assert here.demo.status() is None
            await until(lambda: sockets() <= before and len(asyncio.all_tasks()) == tasks)


async def test_a_story_begins_anew_after_its_end() -> None:
    """As soon as the last document of the one before was sent."""
    async with staged() as here:
        await here.demo.play(plan(), here.target)
        await here.told.where(lambda told: told["sides"]["fanwise"]["published"] > 5)
        run = here.demo._run
        assert run is not None
        run.abandon()
        told = await here.demo.play(plan(), here.target)
        assert here.demo._run is not run
        assert (told["running"], told["phase"]) == (True, "connecting")
        assert [document["running"] for document in here.told.documents].count(False) == 1


async def test_a_draining_server_has_no_story() -> None:
    """It ends when draining begins, which is not longer for it, and none is begun."""
    async with staged() as here:
        await here.demo.play(plan(), here.target)
        await here.told.where(lambda told: told["sides"]["fanwise"]["published"] > 0)
        began = monotonic()
        await here.broadcaster.drain(seconds=100)
        assert monotonic() - began < 50
        await here.told.where(ended) if here.demo.status() else None
        assert here.demo.status() is None
        with pytest.raises(DrainingError):
            await here.demo.play(plan(), here.target)


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_a_server_that_stops_is_not_held_up(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With whatever is stuck: a healthy client hears the server's farewell, and the story ends before the patience."""
    monkeypatch.setattr(fanwise.transport.websocket_protocol, "CLOSE_SECONDS", 60)
    async with staged(fast=fast) as here:
        here.live.server.config.timeout_graceful_shutdown = 120
        await here.demo.play(plan(clients=10, size=16_384, rate=200), here.target)
        await here.told.reached("stopped")
        await here.told.where(lambda told: told["sides"]["tutorial"]["publishing_seconds"] > 0.2)
        began = monotonic()
    assert monotonic() - began < 30
    assert here.demo.status() is None
    assert ended(here.told.documents[-1])


async def test_it_is_for_a_running_server_with_room() -> None:
    """Else it says what is wrong, and nothing runs."""
    demo = DemoController(Node(), send=Told())
    with pytest.raises(NotRunningError):
        await demo.play(plan(), local(1))
    async with staged(broadcaster=Node(max_clients=1)) as here, await here.live.connect():
        await until(lambda: len(here.broadcaster) == 1)
        with pytest.raises(FullError):
            await here.demo.play(plan(), here.target)
        assert here.demo.status() is None


async def test_the_loop_is_for_those_who_know_the_token() -> None:
    """Of the run that lasts."""
    async with staged() as here:
        assert here.demo.tutorial("") is None
        await here.demo.play(plan(), here.target)
        run = here.demo._run
        assert run is not None
        assert here.demo.tutorial(run.token) is run.tutorial
        for token in ("", "x", "é", run.token + "x"):
            assert here.demo.tutorial(token) is None
        run.abandon()
        assert here.demo.tutorial(run.token) is None


async def test_it_has_room_for_both_sides() -> None:
    """The clients of the settings are those of both together; with fewer than four there is no demo."""
    for clients, each, available in ((200, 100, True), (5, 2, True), (3, 1, False), (0, 0, False)):
        demo = DemoController(Node(), send=Told(), max_clients=clients)
        assert (demo.max_clients, demo.available) == (each, available)


async def test_who_is_told_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    """Then the story goes on, and the log says why, once; of another one again."""
    failed = 0

    def tell(_document: dict[str, Any]) -> None:
        nonlocal failed
        failed += 1
        raise ValueError("no")

    async with staged() as here:
        here.demo._send = tell
        with caplog.at_level(logging.ERROR, "fanwise"):
            for number in (1, 2):
                await here.demo.play(plan(), here.target)
                await until(lambda before=failed: failed > before + 2)  # type: ignore[misc]
                assert here.demo.status() is not None
                await here.demo.stop()
                assert caplog.text.count("the demo's news failed: ValueError('no')") == number
        assert len(caplog.records) == 2
        here.demo._send = here.told
        await here.demo.play(plan(), here.target)
        await here.told.where(running)
