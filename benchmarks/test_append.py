"""Arrival: into the log, and out of it at the other end."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.core.log import Log
from fanwise.core.publication import Kind, Publication

from .ready_channel import PAYLOAD


@pytest.mark.parametrize("retained", [1, 100, 1000, 10_000])
def test_append(benchmark: BenchmarkFixture, retained: int) -> None:
    """Guards that appending to a full log is O(1), amortised: the same however much is retained."""
    benchmark.group = "100 appended"
    log = Log("lobby", epoch="0123456789ab", max_messages=retained, max_bytes=1 << 30)
    for _ in range(retained):
        log.append(PAYLOAD, kind=Kind.TEXT, time=0.0)

    def run() -> None:
        for _ in range(100):
            log.append(PAYLOAD, kind=Kind.TEXT, time=0.0)

    benchmark(run)
    assert len(log) == retained


def test_append_and_shift(benchmark: BenchmarkFixture) -> None:
    """The twin without dropped places: a list of 10,000 of which the first is deleted each time."""
    benchmark.group = "100 appended"
    publications = [Publication("lobby", "0123456789ab", 1, PAYLOAD, Kind.TEXT, 0.0)] * 10_000

    def run() -> None:
        for offset in range(100):
            publications.append(Publication("lobby", "0123456789ab", offset, PAYLOAD, Kind.TEXT, 0.0))
            del publications[0]

    benchmark(run)


def test_append_to_a_deque(benchmark: BenchmarkFixture) -> None:
    """The twin that is a deque: as fast to append to, but see `test_read_after`."""
    benchmark.group = "100 appended"
    publications = deque([Publication("lobby", "0123456789ab", 1, PAYLOAD, Kind.TEXT, 0.0)] * 10_000, maxlen=10_000)

    def run() -> None:
        for offset in range(100):
            publications.append(Publication("lobby", "0123456789ab", offset, PAYLOAD, Kind.TEXT, 0.0))

    benchmark(run)


@pytest.mark.parametrize("way", ["log", "deque"])
def test_read_after(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards that 64 publications in the middle of 10,000 are read in O(64): the twin walks a deque to them."""
    benchmark.group = "64 read from the middle of 10,000"
    log = Log("lobby", epoch="0123456789ab", max_messages=10_000, max_bytes=1 << 30)
    publications = deque(log.append(PAYLOAD, kind=Kind.TEXT, time=0.0) for _ in range(10_000))

    def walk() -> int:
        return len([publications[at] for at in range(5000, 5064)])

    def read() -> int:
        return len(log.read(5000, max_bytes=64 * len(PAYLOAD)))

    assert benchmark(read if way == "log" else walk) == 64


@pytest.mark.parametrize("clients", [1, 100, 1000, 10_000])
@pytest.mark.parametrize("way", ["one log", "a queue per client"])
def test_arrival(benchmark: BenchmarkFixture, way: str, clients: int) -> None:
    """Guards that arrival is one append: the twin puts the publication into an `asyncio.Queue` of each client."""
    benchmark.group = f"one publication for {clients} clients that are behind"
    log = Log("lobby", epoch="0123456789ab", max_messages=1000, max_bytes=1 << 30)
    queues: list[asyncio.Queue[bytes]] = [asyncio.Queue() for _ in range(clients)]

    def put() -> None:
        for queue in queues:
            queue.put_nowait(PAYLOAD)

    if way == "one log":
        benchmark.pedantic(lambda: log.append(PAYLOAD, kind=Kind.TEXT, time=0.0), rounds=20)
    else:
        benchmark.pedantic(put, rounds=20)
