"""SIGTERM during attacks ends the server in time and with status 0."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ...support.processes import ServerProcess
from .rows import Figure
from .stops import start, stop_under

LOOPS = ("uvloop", "asyncio")
FLOODS = (
    "pings of 0 bytes",
    "fragments of 1 byte",
    "texts of 0 bytes",
    "840,000 pipelined requests",
    "64 MiB of small headers",
    "an upgrade with a body",
    "a body that never comes",
)
LIMIT_SECONDS = 30.0  # a flood that was not bounded has taken 34


@pytest.fixture(scope="module")
def stopped() -> Iterator[dict[str, Future[list[Figure]]]]:
    """Both servers are attacked and stopped at once: {loop: what was seen}."""

    def stop(server: ServerProcess) -> list[Figure]:
        return list(stop_under(server, *FLOODS, connections=2, limit_seconds=LIMIT_SECONDS))

    with ThreadPoolExecutor(len(LOOPS)) as pool:
        yield {loop: pool.submit(stop, server) for loop, server in [(loop, start(loop)) for loop in LOOPS]}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_stops_under_attack(stopped: dict[str, Future[list[Figure]]], loop: str) -> None:
    """Under these floods at once; `python -m tests.system.hostile` has each of all by itself, ten times."""
    assert [str(figure) for figure in stopped[loop].result() if not figure.held] == []
