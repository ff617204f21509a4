"""Turns: the order in which clients come back and catch up.

Clients that are behind take slices from their queues, one after the other. Together they hold the loop for a few
milliseconds a turn, however many they are: a thousand who come back at once do not delay those who are up to date.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from heapq import merge
from itertools import islice
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Done = TypeVar("Done")
Item = TypeVar("Item")
Found = TypeVar("Found")

TURN_SECONDS = 0.002  # for which the loop is held in one turn
SHARED_TURN_SECONDS = 0.001  # for which work that strangers ask for holds it in one turn
_STEP = 64  # items between two looks at the clock
_RUN = 512  # items that are sorted without one
_WHOLE = 0.75  # of a turn, which has to be left for a piece that takes a whole one


class TurnScheduler:
    """Owns the invariants that each enlisted step gets a turn, and that steps hold the loop for a bounded time a turn.

    Args:
        loop: The event loop.
        turn_seconds: How long steps hold the loop in one turn; exceeded by at most one step.
        clock: Seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        turn_seconds: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._loop = loop
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._steps: OrderedDict[Callable[[], bool], None] = OrderedDict()  # in the order of their turns
        self._scheduled = False

    def enlist(self, step: Callable[[], bool]) -> None:
        """Has `step` called at its turn, and again as long as `step` returns True. O(1). Idempotent until then.

        `step` must not raise.
        """
        self._steps.setdefault(step, None)
        self._schedule()

    async def in_turn(self, act: Callable[[], Done]) -> Done:
        """Returns or raises what `act` does, in a turn of its own."""
        future: asyncio.Future[Done] = self._loop.create_future()

        def step() -> bool:
            if not future.done():  # the call that waited may have been cancelled
                try:
                    future.set_result(act())
                except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                    future.set_exception(error)
            return False

        self.enlist(step)
        return await future

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        deadline = self._clock() + self._turn_seconds
        while self._steps:
            step, _ = self._steps.popitem(last=False)
            if step():
                self._steps.setdefault(step, None)
            if self._clock() >= deadline:
                break
        if self._steps:
            self._schedule()


class _LongWork:
    """Owns the invariant that all long work takes one turn's time in a turn of the loop, however many pieces there are.

    Work that waits goes on alone, in the order in which it began to wait.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._called = False  # whether the turn is somebody's who has not been called yet
        self._ends_at: float | None = None  # of this turn of the loop; None: no long work was done in it

    def begin(self, turn_seconds: float) -> float:
        """Returns when work has to wait that begins now; 0: at once, since others wait."""
        if self._waiting or self._called:
            return 0.0
        if self._ends_at is None:
            self._ends_at = time.monotonic() + turn_seconds
            asyncio.get_running_loop().call_soon(self._end)
        return self._ends_at

    async def turn(self, turn_seconds: float) -> float:
        """Returns when the caller's turn ends, in that turn."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._next, loop)
        self._waiting.append(future)
        try:
            await future
        finally:
            if not future.cancelled():
                self._called = False
        return self.begin(turn_seconds) or time.monotonic() + turn_seconds

    def _end(self) -> None:
        self._ends_at = None

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and self._waiting[0].done():  # the work was cancelled
            self._waiting.popleft()
        if self._waiting:
            self._called = True
            self._waiting.popleft().set_result(None)
        if self._waiting:
            loop.call_soon(self._next, loop)


_LONG_WORK: WeakKeyDictionary[asyncio.AbstractEventLoop, _LongWork] = WeakKeyDictionary()


class Turn:
    """A turn of the event loop, which a long piece of work gives back every `turn_seconds`."""

    def __init__(self, turn_seconds: float = TURN_SECONDS) -> None:
        self._turn_seconds = turn_seconds
        self._ends_at = time.monotonic() + turn_seconds

    async def give_way(self, seconds: float = 0.0) -> None:
        """Lets others have their turn if this one is over. Costs one look at the clock otherwise.

        `seconds`: what the next piece may take, as in `over_for`.
        """
        if self.over_for(seconds):
            await self._next()

    def over_for(self, seconds: float) -> bool:
        """Returns whether a piece of work that may take `seconds`, and cannot be cut, has to wait for a new turn.

        A piece that takes longer than a turn begins in the first quarter of one.
        """
        return time.monotonic() + min(seconds, self._turn_seconds * _WHOLE) >= self._ends_at

    async def _next(self) -> None:
        await asyncio.sleep(0)
        self._ends_at = time.monotonic() + self._turn_seconds


class SharedTurn(Turn):
    """A turn of the running event loop for work that strangers ask for, who share it: 1 ms in a turn for all of them.

    Work that begins when the others have used the turn up, or wait, has no turn yet.
    """

    def __init__(self, turn_seconds: float = SHARED_TURN_SECONDS) -> None:
        loop = asyncio.get_running_loop()
        self._long_work = _LONG_WORK.get(loop) or _LONG_WORK.setdefault(loop, _LongWork())
        self._turn_seconds = turn_seconds
        self._ends_at = self._long_work.begin(turn_seconds)

    async def _next(self) -> None:
        self._ends_at = await self._long_work.turn(self._turn_seconds)


async def in_turns(
    look: Callable[[Item], Found | None],
    items: Iterable[Item],
    *,
    limit: int | None = None,
    step: int | None = None,
    turn_seconds: float = TURN_SECONDS,
) -> list[Found]:
    """Returns what `look` finds at each of the items, without None. The event loop turns every `turn_seconds`.

    Args:
        look: Called with each item; None: nothing was found.
        items: Collected now, before the first turn ends: an iterator that costs little.
        limit: Findings after which the search ends; None: all items are looked at.
        step: Items between two looks at the clock; by default 64.
        turn_seconds: Time for which the loop is held in one turn.
    """
    waiting = list(items)
    found: list[Found] = []
    turn, step = Turn(turn_seconds), step or _STEP
    for start in range(0, len(waiting), step):
        found += [one for one in map(look, waiting[start : start + step]) if one is not None]
        if limit is not None and len(found) >= limit:
            return found[:limit]
        await turn.give_way()
    return found


async def first_in_turns(
    items: list[Item], limit: int, *, key: Callable[[Item], Any], reverse: bool = False
) -> list[Item]:
    """Returns the first `limit` of the items, sorted by `key`. The event loop turns every 2 ms.

    Runs of 512 items are sorted, each in a fraction of a turn, and then merged.
    """
    runs = [items[start : start + _RUN] for start in range(0, len(items), _RUN)]
    cut = await in_turns(lambda run: sorted(run, key=key, reverse=reverse)[:limit], runs, step=1)
    found: list[Item] = []
    turn = Turn()
    for number, item in enumerate(islice(merge(*cut, key=key, reverse=reverse), limit)):
        found.append(item)
        if number % _STEP == 0:
            await turn.give_way()
    return found
