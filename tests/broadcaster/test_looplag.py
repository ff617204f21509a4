from __future__ import annotations

import asyncio

import pytest

from fanwise.broadcaster.looplag import LoopLag
from fanwise.core.counters import Histogram

from ..support.live import until

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_late_loop_is_seen() -> None:
    """By how late it called, for some seconds; what is on time counts as nothing."""
    clock, histogram = Clock(), Histogram((0.05, 1.0))
    told: list[float] = []
    lag = LoopLag(histogram, on_look=told.append, clock=clock)
    lag.start(asyncio.get_running_loop())
    clock.now = 0.2
    lag.look()
    assert lag.worst_seconds == 0
    clock.now = 0.9
    assert lag.worst_seconds == pytest.approx(0.5), "also while nobody has been called yet"
    lag.look()
    clock.now = 1.1
    lag.look()
    assert histogram.counts == [2, 1, 0]
    assert told == [pytest.approx(0), pytest.approx(0.5), pytest.approx(0)]
    assert lag.worst_seconds == pytest.approx(0.5)
    for _ in range(30):
        clock.now += 0.2
        lag.look()
    assert lag.worst_seconds == pytest.approx(0)
    lag.stop()


async def test_the_loop_calls_it_until_it_is_stopped() -> None:
    """Then nothing is left on the loop, and nothing to complain of."""
    histogram = Histogram((1.0,))
    lag = LoopLag(histogram)
    assert lag.worst_seconds == 0
    lag.start(asyncio.get_running_loop())
    await until(lambda: histogram.count > 0)
    lag.stop()
    assert lag.worst_seconds == 0
