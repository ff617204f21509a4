from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.turns import TurnScheduler

pytestmark = pytest.mark.anyio


class Worker:
    """Wants a number of turns, each of which takes a second."""

    def __init__(self, name: str, turns: int, done: list[str], tick: Callable[[], None]) -> None:
        self.name = name
        self.turns = turns
        self.done = done
        self.tick = tick

    def step(self) -> bool:
        self.done.append(self.name)
        self.tick()
        self.turns -= 1
        return self.turns > 0


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def tick(self) -> None:
        self.seconds += 1.0


def make_rota(turn_seconds: float) -> tuple[TurnScheduler, Clock]:
    clock = Clock()
    return TurnScheduler(asyncio.get_running_loop(), turn_seconds=turn_seconds, clock=clock), clock


async def test_they_take_turns() -> None:
    """One step each, in the order in which they came, until all have enough."""
    rota, clock = make_rota(100.0)
    done: list[str] = []
    for name, turns in (("a", 3), ("b", 1), ("c", 2)):
        rota.enlist(Worker(name, turns, done, clock.tick).step)
    assert done == []
    await checkpoint()
    assert "".join(done) == "abcaca"


async def test_the_loop_is_given_back_when_the_time_is_up() -> None:
    """After so many steps as fit, and the others go on where it ended."""
    rota, clock = make_rota(2.0)
    done: list[str] = []
    for name in "abcde":
        rota.enlist(Worker(name, 1, done, clock.tick).step)
    turns = []
    for _ in range(4):
        await checkpoint()
        turns.append("".join(done))
        done.clear()
    assert turns == ["ab", "cd", "e", ""]


async def test_who_is_enlisted_twice_has_one_turn() -> None:
    """Enlisting again is how one says that there is something to do, not that there is more of it."""
    rota, clock = make_rota(100.0)
    done: list[str] = []
    worker = Worker("a", 1, done, clock.tick)
    for _ in range(3):
        rota.enlist(worker.step)
    await checkpoint()
    await checkpoint()
    assert done == ["a"]


async def test_what_is_done_in_turn_is_waited_for() -> None:
    """It gives what it returns, or raises; and is not done for who has gone meanwhile."""
    rota, clock = make_rota(2.0)
    done: list[str] = []
    worker = Worker("a", 9, done, clock.tick)
    assert await rota.in_turn(worker.step) is True
    with pytest.raises(ZeroDivisionError):
        await rota.in_turn(lambda: 1 / 0)
    cancelled = asyncio.create_task(rota.in_turn(worker.step))
    await checkpoint()
    cancelled.cancel()
    others = [asyncio.create_task(rota.in_turn(worker.step)) for _ in range(4)]
    assert [await other for other in others] == [True] * 4
    assert len(done) in (5, 6)
    assert cancelled.cancelled() or cancelled.done()
