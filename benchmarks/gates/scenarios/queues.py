"""Clients that are behind: overflow by policy, the audit, and coming back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.harness import TakesAll, drive, stage
from benchmarks.ready_channel import PAYLOAD
from fanwise.broadcaster.audit import Audit
from fanwise.broadcaster.event_log import EventLog
from fanwise.core.hub import Hub
from fanwise.core.log import Log
from fanwise.core.publication import Kind, Position
from fanwise.core.queue import Overflow, Queue

from . import Scenario, Step


def filled_log() -> Log:
    """2,000 publications with 100 keys."""
    log = Log("lobby", epoch="0123456789ab", max_messages=2000, max_bytes=1 << 22)
    for number in range(2000):
        log.append(PAYLOAD, kind=Kind.TEXT, time=0.0, key=f"key-{number % 100}")
    return log


@contextmanager
def overflow(policy: Overflow, queues: int) -> Iterator[Step]:
    """Queues that are 2,000 publications behind and may be 500: what is skipped costs nothing, what is kept is read."""
    log = filled_log()

    def step() -> int:
        taken = 0
        for _ in range(queues):
            queue = Queue(log, cursor=0, max_messages=500, max_bytes=1 << 20, overflow=policy)
            while not queue.empty():
                taken += len(queue.get_nowait(max_bytes=65_536).publications)
        return taken

    yield step


@contextmanager
def disconnect() -> Iterator[Step]:
    """50 queues of which the log has let go of what is next: a gap, which alone is the verdict."""
    log = filled_log()
    log.trim(max_messages=1000, max_bytes=1 << 22)

    def step() -> int:
        gaps = 0
        for _ in range(50):
            queue = Queue(log, cursor=0, max_messages=500, max_bytes=1 << 20)
            gaps += queue.overflowed() + len(queue.get_nowait(max_bytes=65_536).gaps)
        return gaps

    yield step


class Stuck(TakesAll):
    """A sink that takes nothing."""

    writable = False
    buffered_bytes = 1000


@contextmanager
def audit() -> Iterator[Step]:
    """A look at 200 clients that are behind, within their bounds: O(1) for each."""
    with stage() as place:
        for _ in range(200):
            client = place.enter(Stuck(), channel=None)
            place.broadcaster.subscribe(client, "lobby")
        place.broadcaster.publish_nowait("lobby", PAYLOAD)
        hub, registry = place.broadcaster._hub, place.broadcaster._registry
        event_log = EventLog(memory_bytes=None, late_seconds=1.0)
        audit = Audit(hub, registry, event_log, stall_seconds=10.0, turn_seconds=1e9)

        def step() -> int:
            drive(audit._judge_all(0.0))
            return len(registry.behind)

        yield step


@contextmanager
def resume() -> Iterator[Step]:
    """20 clients that come back 100 publications later, read them, and leave: O(what is read)."""
    hub = Hub(
        queue_messages=1000,
        queue_bytes=1 << 20,
        history_messages=1000,
        history_bytes=1 << 22,
        history_seconds=300.0,
        cohort_clients=128,
    )
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel.name, time=0.0)  # somebody is always here
    for _ in range(1000):
        hub.publish(channel, PAYLOAD, kind=Kind.TEXT, time=0.0)
    since = Position(channel.log.epoch, 900)

    def step() -> int:
        taken = 0
        for _ in range(20):
            queue = hub.subscribe(channel.name, since=since, time=0.0).queue
            while not queue.empty():
                taken += len(queue.get_nowait(max_bytes=4096).publications)
            hub.unsubscribe(channel, queue, time=0.0)
        return taken

    yield step


SCENARIOS = (
    Scenario("overflow-disconnect", disconnect, does=100),
    Scenario("overflow-drop-oldest", partial(overflow, Overflow.DROP_OLDEST, 20), does=20 * 500),
    Scenario("overflow-latest", partial(overflow, Overflow.LATEST, 1), does=100),
    Scenario("audit", audit, does=200),
    Scenario("resume", resume, does=20 * 100),
)
