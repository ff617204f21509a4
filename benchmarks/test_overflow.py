"""Clients that are behind: what becomes of them by policy, catching up, and coming back."""

from __future__ import annotations

from collections import deque

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.core.hub import Hub
from fanwise.core.log import Log
from fanwise.core.publication import Kind, Position
from fanwise.core.queue import Overflow, Queue

from .gates.scenarios import fanout
from .ready_channel import PAYLOAD

BEHIND = 2000
WINDOW = 500
KEYS = 100


def filled_log() -> Log:
    log = Log("lobby", epoch="0123456789ab", max_messages=BEHIND, max_bytes=1 << 30)
    for number in range(BEHIND):
        log.append(PAYLOAD, kind=Kind.TEXT, time=0.0, key=f"key-{number % KEYS}")
    return log


@pytest.mark.parametrize(
    ("policy", "kept"), [(Overflow.DISCONNECT, BEHIND), (Overflow.DROP_OLDEST, WINDOW), (Overflow.LATEST, KEYS)]
)
def test_overflow(benchmark: BenchmarkFixture, policy: Overflow, kept: int) -> None:
    """Guards that skipping is a cursor move: what is skipped costs nothing, what is kept is read in slices."""
    benchmark.group = "a queue that is 2,000 behind and may be 500"
    log = filled_log()

    def run() -> int:
        queue = Queue(log, cursor=0, max_messages=WINDOW, max_bytes=1 << 30, overflow=policy)
        taken = 0
        while not queue.empty():
            taken += len(queue.get_nowait(max_bytes=65_536).publications)
        return taken

    assert benchmark(run) == kept


def test_overflow_of_a_deque(benchmark: BenchmarkFixture) -> None:
    """The twin without a log: a deque per client, of which the oldest is dropped to put in the newest."""
    benchmark.group = "a queue that is 2,000 behind and may be 500"

    def run() -> int:
        queue: deque[bytes] = deque()
        for _ in range(BEHIND):
            if len(queue) >= WINDOW:
                queue.popleft()
            queue.append(PAYLOAD)
        return len([queue.popleft() for _ in range(WINDOW)])

    assert benchmark(run) == WINDOW


@pytest.mark.parametrize("clients", [1, 100, 1000, 10_000])
@pytest.mark.parametrize("way", ["overflowed", "counted one by one"])
def test_verdict(benchmark: BenchmarkFixture, way: str, clients: int) -> None:
    """Guards that being over the bounds is a subtraction: the twin adds up the bytes that a client still has to get."""
    benchmark.group = f"verdict over {clients} queues"
    log = filled_log()
    queues = [Queue(log, cursor=BEHIND - 50, max_messages=WINDOW, max_bytes=1 << 20) for _ in range(clients)]

    def add_up() -> int:
        late = 0
        for queue in queues:
            waiting = log.read(queue.cursor, max_bytes=1 << 30)
            late += sum(len(one.payload) for one in waiting) > queue.max_bytes
        return late

    def look() -> int:
        return sum(queue.overflowed() for queue in queues)

    assert benchmark.pedantic(look if way == "overflowed" else add_up, rounds=3) == 0


def test_short_write(benchmark: BenchmarkFixture) -> None:
    """Guards leaving the group and coming back: four clients whose pipes hold half of what is swept."""
    benchmark.group = "short writes"
    with fanout.short_write() as step:
        assert benchmark(step) == 4 * 64 * fanout.FRAME_BYTES


@pytest.mark.parametrize("missed", [1, 100, 1000])
@pytest.mark.parametrize("way", ["cursor", "replay"])
def test_resume(benchmark: BenchmarkFixture, way: str, missed: int) -> None:
    """Guards that resuming is a cursor: O(what was missed). The twin looks for its place in all that is retained."""
    benchmark.group = f"back after {missed} of 10,000"
    hub = Hub(
        queue_messages=10_000,
        queue_bytes=1 << 30,
        history_messages=10_000,
        history_bytes=1 << 30,
        history_seconds=300.0,
        cohort_clients=128,
    )
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel.name, time=0.0)  # somebody is always here
    for _ in range(10_000):
        hub.publish(channel, PAYLOAD, kind=Kind.TEXT, time=0.0)
    since = Position(channel.log.epoch, 10_000 - missed)

    def resume() -> int:
        queue = hub.subscribe(channel.name, since=since, time=0.0).queue
        taken = len(queue.get_nowait(max_bytes=1 << 30).publications)
        hub.unsubscribe(channel, queue, time=0.0)
        return taken

    def replay() -> int:
        return len([one for one in channel.log.read(0, max_bytes=1 << 30) if one.offset > since.offset])

    assert benchmark.pedantic(resume if way == "cursor" else replay, rounds=20) == missed
