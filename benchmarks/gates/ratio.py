"""The ratio gate: Fanwise against what it replaces, in the same process, at the same time.

    python -m benchmarks.gates.ratio [--json]

Each round serves the same clients with the same publications, first one way and then the other, and gives one ratio of
CPU times; the gate looks at the median. Both suffer from whatever else the machine does, so the ratio stays. It fails
when Fanwise has lost half of what it was measured to be ahead by.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple, TypeAlias

from benchmarks.harness import DescriptorLimitError, devnull
from benchmarks.ready_channel import Scene, TaskPerClient, TutorialLoop

from .instructions import say
from .skipping import SkippedError, check_skip

Serve: TypeAlias = "Callable[[int], None]"
"""Serves a case so many times."""

TUTORIAL, TASKS = "tutorial loop", "queue and task per client"

ROUNDS = 15
LEAST_NANOSECONDS = 2_000_000  # of a side of a round: repeated so often that it takes as long as that


class Case(NamedTuple):
    """One comparison.

    Attributes:
        rival: What Fanwise is compared with.
        clients: How many there are.
        burst: How many publications come at once.
        factor: How many times as fast Fanwise has to be: about half of what was measured (`benchmarks/README.md`).
    """

    rival: str
    clients: int
    burst: int
    factor: float

    def __str__(self) -> str:
        clients = "1 client" if self.clients == 1 else f"{self.clients:,} clients"
        return f"{self.rival}, {clients}, {self.burst} at once"


CASES = (
    Case(TUTORIAL, 1, 1, 0.25),  # with one client there is nothing to share, and the log has its price
    Case(TUTORIAL, 100, 1, 3),
    Case(TUTORIAL, 1000, 1, 4),
    Case(TUTORIAL, 1000, 64, 150),
    Case(TASKS, 100, 1, 4),
    Case(TASKS, 1000, 1, 5),
    Case(TASKS, 1000, 64, 60),
)


@contextmanager
def rival(case: Case, fds: list[int]) -> Iterator[Serve]:
    """Serves the case the other way."""
    with asyncio.Runner() as runner:
        broadcast = runner.run(start(case.rival, fds))

        async def serve(times: int) -> None:
            for _ in range(times):
                await broadcast(case.burst)

        yield lambda times: runner.run(serve(times))


async def start(name: str, fds: list[int]) -> Callable[[int], Awaitable[None]]:
    """What broadcasts so many publications, once it is awaited, to clients on the running loop."""
    if name == TASKS:
        return TaskPerClient(fds).broadcast
    loop = TutorialLoop(fds)
    await loop.accept()
    return loop.broadcast


@contextmanager
def fanwise(case: Case, fds: list[int]) -> Iterator[Serve]:
    """Serves the case our way, from `append` to the last write."""
    scene = Scene(fds)

    def serve(times: int) -> None:
        for _ in range(times):
            scene.append(case.burst)
            scene.sweep()

    yield serve
    scene.close()


def nanoseconds(serve: Serve, times: int) -> float:
    """CPU time of serving the case once."""
    start = time.process_time_ns()
    serve(times)
    return max(1, time.process_time_ns() - start) / times


def interleave(ours: Serve, theirs: Serve, *, rounds: int) -> list[float]:
    """One ratio, theirs / ours, for each round."""
    times = [max(1, round(LEAST_NANOSECONDS / nanoseconds(side, 5))) for side in (ours, theirs)]
    ratios = []
    for _ in range(rounds):
        took = [nanoseconds(side, count) for side, count in zip((ours, theirs), times, strict=True)]
        ratios.append(took[1] / took[0])
    return ratios


def measure(case: Case, *, rounds: int = ROUNDS) -> float:
    """How many times as fast Fanwise is."""
    with devnull(case.clients) as fds, fanwise(case, fds) as ours, rival(case, fds) as theirs:
        gc.collect()
        return median(interleave(ours, theirs, rounds=rounds))


def judge(case: Case, measured: float) -> tuple[bool, str]:
    """Whether it is fast enough, and a sentence that says so."""
    sentence = f"{case}: Fanwise is {measured:.1f} times as fast, at least {case.factor:g} times is expected"
    return measured >= case.factor, f"{'passed' if measured >= case.factor else 'FAILED'}: {sentence}."


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench-ratio", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print what was measured as one line of JSON as well")
    asked = parser.parse_args()
    measured: dict[str, float] = {}
    failed = 0
    try:
        for case in CASES:
            measured[str(case)] = round(measure(case), 2)
            fast, sentence = judge(case, measured[str(case)])
            say(sentence)
            failed += not fast
    except DescriptorLimitError as error:
        try:
            check_skip(f"{case}, and those after it: {error}")
        except SkippedError as skipped:
            say(f"FAILED: {skipped}")
            return 2
    if asked.json:
        say(json.dumps(measured))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
