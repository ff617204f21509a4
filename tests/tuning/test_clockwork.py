"""`tuning.clockwork`: a virtual event loop."""

from __future__ import annotations

import asyncio
import math

from fanwise.tuning.clockwork import VirtualLoop, finish


def test_timers_come_in_time_and_callbacks_at_once() -> None:
    """Equal times keep their order; what a timer has called comes before the next timer."""
    loop, seen = VirtualLoop(begins=1.0), []

    def timer(name: str) -> None:
        seen.append((name, loop.time()))
        loop.call_soon(seen.append, (name + "'", loop.time()))

    loop.call_at(3.0, lambda: timer("later"))
    loop.call_at(2.0, lambda: timer("first"))
    loop.call_at(2.0, lambda: timer("second"))
    loop.call_at(0.0, lambda: timer("over"))
    loop.call_at(math.inf, lambda: timer("never"))
    loop.run_until(2.5)
    assert seen == [("over", 1.0), ("over'", 1.0), ("first", 2.0), ("first'", 2.0), ("second", 2.0), ("second'", 2.0)]
    assert loop.time() == 2.5


def test_a_coroutine_that_only_gives_way_is_run_to_its_end() -> None:
    seen = []

    async def work() -> None:
        for number in range(3):
            seen.append(number)
            await asyncio.sleep(0)

    finish(work())
    assert seen == [0, 1, 2]
