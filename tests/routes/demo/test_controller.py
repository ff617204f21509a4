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

MODES = pytest.mark.parametrize("mode", ["fanwise", "tutorial"])


def plan(mode: Any = "fanwise", **more: Any) -> Plan:
    return Plan.model_validate({"mode": mode, "clients": 3} | more)


def running(document: dict[str, Any]) -> bool:
    return bool(document["running"])


def ended(document: dict[str, Any]) -> bool:
    return not document["running"]


async def test_it_tells_how_the_show_goes_until_it_has_ended() -> None:
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


async def test_the_same_mode_goes_on() -> None:
    """With the clients that are there; another mode is another show, and is not told as an end."""
    async with staged() as here:
        await here.demo.play(plan(), here.target)
        await here.told.where(lambda told: told["published"] > 20)
        told = await here.demo.play(plan(clients=4), here.target)
        assert (told["published"] > 20, len(told["clients"])) == (True, 4)
        before = here.demo._run
        told = await here.demo.play(plan("tutorial"), here.target)
        assert before is not None
        assert all(task.done() for task in before._tasks)
        assert (told["published"] < 10, told["mode"]) == (True, "tutorial")
        await here.told.where(lambda told: told["published"] > 20)
        assert all(map(running, here.told.documents))
        await until(lambda: len(here.broadcaster) == 0)


async def test_modes_can_be_switched_while_a_publication_is_stuck() -> None:
    """There and back: nothing of the other mode is left."""
    async with staged() as here:
        before, tasks = sockets_before(), len(asyncio.all_tasks())
        for _ in range(3):
            await here.demo.play(plan("tutorial", stalled=1), here.target)
            await here.told.where(lambda told: told["publishing_seconds"] > 0.1)
            await here.demo.play(plan("fanwise", stalled=1), here.target)
            await here.told.where(lambda told: told["mode"] == "fanwise" and told["published"] > 5)
            await until(lambda: sockets() <= before + 6)
        await here.demo.stop()
        await until(lambda: sockets() <= before and len(asyncio.all_tasks()) == tasks)


async def test_changes_come_one_after_the_other() -> None:
    """However many ask at once, one show runs, and it is that of the last one."""
    async with staged() as here:
        tasks = len(asyncio.all_tasks())
        modes = ["tutorial", "fanwise"] * 5
        await asyncio.gather(*(here.demo.play(plan(mode), here.target) for mode in modes), here.demo.stop())
        assert here.demo.status() is None
        await asyncio.gather(*(here.demo.play(plan(mode), here.target) for mode in modes))
        status = here.demo.status()
        assert status is not None
        assert status["mode"] == "fanwise"
        await here.demo.stop()
        await until(lambda: len(asyncio.all_tasks()) == tasks)


@MODES
async def test_a_draining_server_has_no_show(mode: str) -> None:
    """It ends when draining begins, which is not longer for it, and none is begun."""
    async with staged() as here:
        await here.demo.play(plan(mode, stalled=1), here.target)
        await here.told.where(lambda told: told["published"] > 0)
        began = monotonic()
        await here.broadcaster.drain(seconds=100)
        assert monotonic() - began < 50
        await here.told.where(ended) if here.demo.status() else None
        assert here.demo.status() is None
        with pytest.raises(DrainingError):
            await here.demo.play(plan(mode), here.target)


@MODES
@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_a_server_that_stops_is_not_held_up(mode: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With whatever is stuck: a healthy client hears the server's farewell, and the show ends before the patience."""
    monkeypatch.setattr(fanwise.transport.websocket_protocol, "CLOSE_SECONDS", 60)
    async with staged(fast=fast) as here:
        here.live.server.config.timeout_graceful_shutdown = 120
        await here.demo.play(plan(mode, clients=10, stalled=2, slow=2, size=16_384, rate=200), here.target)
        await here.told.where(lambda told: told["clients"][-1]["missing"] > 20 or told["publishing_seconds"] > 0.2)
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
    """Of the show that runs, if it has a loop."""
    async with staged() as here:
        assert here.demo.tutorial("") is None
        await here.demo.play(plan(), here.target)
        assert here.demo.tutorial("") is None
        await here.demo.play(plan("tutorial"), here.target)
        show = here.demo._run
        assert show is not None
        assert show.tutorial is not None
        assert here.demo.tutorial(show.token) is show.tutorial
        for token in ("", "x", "é", show.token + "x"):
            assert here.demo.tutorial(token) is None


async def test_the_same_server_under_another_name_goes_on() -> None:
    """Who asks it as localhost changes the show that was started as 127.0.0.1; another prefix is another target."""
    async with staged() as here:
        await here.demo.play(plan(), here.target)
        await here.told.where(lambda told: told["published"] > 20)
        named = here.target._replace(host=f"localhost:{here.live.port}")
        assert (await here.demo.play(plan(), named))["published"] > 20
        assert (await here.demo.play(plan(), here.target._replace(prefix="/elsewhere")))["published"] < 10


async def test_who_is_told_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    """Then the show goes on, and the log says why, once; of another show again."""
    failed = 0

    def tell(_document: dict[str, Any]) -> None:
        nonlocal failed
        failed += 1
        raise ValueError("no")

    async with staged() as here:
        here.demo._send = tell
        with caplog.at_level(logging.ERROR, "fanwise"):
            for show in (1, 2):
                await here.demo.play(plan(), here.target)
                await until(lambda before=failed: failed > before + 2)  # type: ignore[misc]
                assert here.demo.status() is not None
                await here.demo.stop()
                assert caplog.text.count("the demo's news failed: ValueError('no')") == show
        assert len(caplog.records) == 2
        here.demo._send = here.told
        await here.demo.play(plan(), here.target)
        await here.told.where(running)
