"""CPU time beside that of a fixed load in the same process, round by round: what slows one down slows the other, too.

A round's time is told in seconds of a machine on which the load takes `NOMINAL_SECONDS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

NOMINAL_SECONDS = 0.001
LOAD = "attributes, calls and tuples, 1"  # named in saved runs: another load is another unit


class _Thing:
    def __init__(self) -> None:
        self.total = 0
        self.latest: dict[int, tuple[int, int]] = {}

    def step(self, number: int) -> int:
        self.latest[number & 63] = (self.total, number)
        self.total += number & 7
        return self.total


def load() -> None:
    """Interprets what Python code is made of: about a millisecond."""
    thing = _Thing()
    for number in range(10_000):
        thing.step(number)


def cpu_seconds(act: Callable[[], object]) -> float:
    """Calls `act`; returns the CPU time that this process has spent on it, in user space and in the kernel."""
    begin = time.process_time_ns()
    act()
    return (time.process_time_ns() - begin) / 1e9


def quietest(rounds: list[tuple[float, float]], keep: int) -> list[float]:
    """Returns the times of the `keep` fastest rounds, in nominal seconds; `rounds`: CPU seconds of each and its load.

    What disturbs a round or a load only adds to it, so the least of both is what they take.
    """
    unit = NOMINAL_SECONDS / min(loaded for _, loaded in rounds)
    return [took * unit for took, _ in sorted(rounds)[:keep]]
