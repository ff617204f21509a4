from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster import turns as module
from fanwise.broadcaster.turns import SHARED_TURN_SECONDS, SharedTurn, TurnScheduler

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


class Strangers:
    """Long pieces of work, of which each step takes half a turn; counts the steps in each turn of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=self.clock))
        self.turn = 0
        self.steps: Counter[int] = Counter()  # {turn of the loop: steps}
        self.order: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._count)

    def _count(self) -> None:
        self.turn += 1
        self._loop.call_soon(self._count)

    async def work(self, name: str, steps: int) -> None:
        turn = SharedTurn()
        for _ in range(steps):
            await turn.give_way()
            self.steps[self.turn] += 1
            self.order.append(name)
            self.clock.seconds += SHARED_TURN_SECONDS / 2


async def test_strangers_share_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask for long work at once, and whether they begin it or go on: all get to their end."""
    strangers = Strangers(monkeypatch)
    working = [asyncio.create_task(strangers.work(f"{number}", 6)) for number in range(20)]
    for number in range(20, 40):  # these begin while others wait
        await checkpoint()
        working.append(asyncio.create_task(strangers.work(f"{number}", 6)))
    await asyncio.gather(*working)
    assert sum(strangers.steps.values()) == 40 * 6
    assert max(strangers.steps.values()) == 2
    assert len(set(strangers.order[:42])) == 20, "they take turns; the first, which waits first, has two"


@pytest.mark.parametrize("pause", [1, 2, 3, 4])
async def test_work_that_begins_takes_no_turn_of_work_that_waits(monkeypatch: pytest.MonkeyPatch, pause: int) -> None:
    """Also where the one that waits has its turn, and was not called yet."""
    strangers = Strangers(monkeypatch)
    working = [asyncio.create_task(strangers.work("long", 40))]
    for number in range(10):
        for _ in range(pause):
            await checkpoint()
        working.append(asyncio.create_task(strangers.work(f"{number}", 2)))
    await asyncio.gather(*working)
    assert max(strangers.steps.values()) == 2


async def test_a_stranger_alone_goes_on_in_each_second_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for those that are not there."""
    strangers = Strangers(monkeypatch)
    await strangers.work("a", 20)
    assert list(strangers.steps.values()) == [2] * 10
    assert strangers.turn <= 3 * 10


@pytest.mark.parametrize(("share", "at_most"), [(0.25, 4), (0.6, 1), (1.0, 1), (3.0, 1)])
async def test_a_piece_that_cannot_be_cut_finds_room_in_its_turn(
    share: float, at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many begin in a turn as fit into it by what each may take; one that takes longer begins in a fresh one."""
    strangers = Strangers(monkeypatch)
    seconds = share * SHARED_TURN_SECONDS

    async def piece() -> None:
        await SharedTurn().give_way(seconds)
        strangers.steps[strangers.turn] += 1
        strangers.clock.seconds += seconds

    await asyncio.gather(*[piece() for _ in range(20)])
    assert sum(strangers.steps.values()) == 20
    assert max(strangers.steps.values()) <= at_most


async def test_strangers_that_are_cancelled_take_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while they wait, nor when their turn has come and they were not called yet."""
    strangers = Strangers(monkeypatch)
    working = [asyncio.create_task(strangers.work(f"{number}", 4)) for number in range(12)]
    for task in working[1::2]:
        await checkpoint()
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    assert [task.cancelled() for task in working] == [False, True] * 6
    assert Counter(strangers.order)["10"] == 4
    await checkpoint()
    assert not SharedTurn().over_for(0.0), "one that comes later need not wait"
    assert max(strangers.steps.values()) == 2
