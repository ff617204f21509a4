"""The table of attacks in short: one attacker of each kind, with limits that a busy machine does not reach.

`python -m tests.system.hostile` has the whole table with its aims: more attackers, more time, a server for each row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from .attackers import ATTACKS
from .probe import Measured
from .rows import ROWS, Result, Row, judge, run
from .scene import Outcome, Scene

LOOPS = ("uvloop", "asyncio")
SHORT = [row for row in ROWS if not row.long]
# Ten seconds each: they go on while the others are looked at.
LATE = [row for row in SHORT if 2 < row.closed_seconds < math.inf]
ASKING = [row for row in ROWS if "FANWISE_READ" in row.environ]  # on a server of their own
PROMPT = [row for row in SHORT if row not in LATE]
LATE_CONNECTIONS = 20
IDLE_CLIENTS = 20
ECHO_SECONDS = 0.03  # a loop that is held for longer holds an echo: the limit has this much room for it
FLOOD_SECONDS = 0.5  # of what is paced and never closed


class Runs:
    """A server on each loop, which all rows share; each row is run once, on both at once."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.scenes = {loop: self._open(loop) for loop in LOOPS}
        self._late = {
            (row.attack, loop): scene.attacker(row.attack, connections=LATE_CONNECTIONS)
            for row in LATE
            for loop, scene in self.scenes.items()
        }
        self._running: dict[str, dict[str, Future[Result]]] = {}  # {attack: {loop: its run}}

    @staticmethod
    def _open(loop: str) -> Scene:
        # Pings come often enough that idle clients would be closed if their pongs were not read.
        environ = {"FANWISE_PING_SECONDS": "1", "FANWISE_PONG_SECONDS": "5"}
        environ |= {"FANWISE_HEAD_SECONDS": "3", "FANWISE_BODY_SECONDS": "3"}
        return Scene(loop, clients=IDLE_CLIENTS, messages_per_second=2, echo_seconds=ECHO_SECONDS, environ=environ)

    def result(self, row: Row, loop: str) -> Result:
        if row.attack not in self._running:
            short = row._replace(seconds=min(row.seconds, FLOOD_SECONDS))
            self._running[row.attack] = {
                loop: self._pool.submit(run, scene, short, attackers=1 if row.attackers != (0,) else 0)
                for loop, scene in self.scenes.items()
            }
        return self._running[row.attack][loop].result()

    def late(self, row: Row, loop: str) -> tuple[Outcome, Measured]:
        return self._late[row.attack, loop].wait(), self.scenes[loop].probe.measure()

    def close(self) -> None:
        for attacker in self._late.values():
            attacker.stop()
        for scene in self.scenes.values():
            scene.__exit__()


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with ThreadPoolExecutor(len(LOOPS)) as pool:
        started = Runs(pool)
        try:
            yield started
        finally:
            started.close()


def name_of(row: Row) -> str:
    return row.attack


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("row", PROMPT, ids=name_of)
def test_an_attack_is_answered_or_closed(runs: Runs, row: Row, loop: str) -> None:
    """In the right way; others lose nothing, the server does not grow, and the log stays short."""
    figures = judge(row, runs.result(row, loop), strict=False)
    assert [str(figure) for figure in figures if not figure.held] == []


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("row", LATE, ids=name_of)
def test_a_request_that_does_not_come_is_ended(runs: Runs, row: Row, loop: str) -> None:
    """With 408 where one has begun; and nobody else has been closed."""
    outcome, measured = runs.late(row, loop)
    figures = judge(row, Result(outcome, measured, measured, ""), strict=False)
    assert [str(figure) for figure in figures if not figure.held] == []


@pytest.fixture(scope="module")
def asking() -> Iterator[Scene]:
    """A server that asks readers for tokens."""
    environ = ASKING[0].environ
    with Scene(
        "uvloop", clients=IDLE_CLIENTS, messages_per_second=2, echo_seconds=ECHO_SECONDS, environ=environ
    ) as scene:
        yield scene


@pytest.mark.parametrize("row", ASKING, ids=name_of)
def test_tokens_of_strangers_hold_nobody_up(asking: Scene, row: Row) -> None:
    """None of them is valid, and all of them are answered in their turn."""
    figures = judge(row, run(asking, row._replace(seconds=FLOOD_SECONDS), attackers=10), attackers=10, strict=False)
    assert [str(figure) for figure in figures if not figure.held] == []


def test_every_attack_has_a_row() -> None:
    """As its subject, its preparation or what goes on beside it."""
    used = {name for row in ROWS for name in (row.attack, row.prepare, row.beside) if name}
    assert used == set(ATTACKS)
