from __future__ import annotations

import pytest

from fanwise.broadcaster.client import Client
from fanwise.broadcaster.registry import AUDIT_SECONDS, ClientRegistry, Farewell
from fanwise.core.counters import Histogram
from fanwise.core.queue import Overflow
from fanwise.core.reasons import CloseReason

from ..core.test_hub import publish
from ..support.fakes import FakeSink
from .test_client import Scene

pytestmark = pytest.mark.anyio


def make_roster(*, memory_bytes: int | None = None) -> tuple[ClientRegistry, Scene, list[Client]]:
    left: list[Client] = []
    setting = Scene(FakeSink())
    registry = ClientRegistry(leave=left.append, stall_seconds=2.0, memory_bytes=memory_bytes, tally=setting.hub.tally)
    setting.client._on_change = registry.changed
    registry.add(setting.client)
    return registry, setting, left


class Audits:
    """Audits at the usual pace, from second 0 on."""

    def __init__(self, registry: ClientRegistry) -> None:
        self.registry = registry
        self.now = 0.0

    def run(self, count: int = 1, *, every_seconds: float = AUDIT_SECONDS) -> None:
        for _ in range(count):
            self.registry.audit(self.now, retained_bytes=0)
            self.now += every_seconds


async def test_a_client_is_counted_once() -> None:
    """However often it is added or changes."""
    registry, setting, _ = make_roster()
    registry.add(setting.client)
    assert list(registry) == [setting.client]


async def test_a_client_leaves_once() -> None:
    """Closing and closed are one departure, counted under the first reason."""
    registry, setting, left = make_roster()
    setting.client.close(CloseReason.SLOW)
    setting.sink.end(CloseReason.LOST)
    assert left == [setting.client]
    assert len(registry) == 0
    closed = setting.hub.tally.closed
    assert {reason: count for reason, count in closed.items() if count} == {CloseReason.SLOW: 1}


async def test_slow_is_who_is_over_its_bounds_from_one_audit_to_the_next() -> None:
    """A paused client within its bounds stays, one that is over them goes at the second look, and is told why."""
    registry, setting, left = make_roster()
    audits = Audits(registry)
    setting.sink.pause()
    for _ in range(20):
        publish(setting.hub, setting.channels["a"])
    audits.run(3)
    publish(setting.hub, setting.channels["a"])
    audits.run()
    assert left == []
    audits.run()
    assert left == [setting.client]
    assert setting.client.reason is CloseReason.SLOW


async def test_who_recovers_between_two_audits_is_not_slow() -> None:
    """However far behind it is whenever somebody looks: a burst is not its fault."""
    registry, setting, left = make_roster()
    audits = Audits(registry)
    for _ in range(10):
        setting.sink.pause()
        for _ in range(30):
            publish(setting.hub, setting.channels["a"])
        audits.run()
        setting.sink.resume()
        setting.sweeper.flush(setting.channels["a"])
        while not setting.client.subscriptions["a"].queue.empty():
            setting.client._take_turn()
    assert left == []


async def test_a_loop_that_was_late_drops_nobody() -> None:
    """When the loop stood still, nobody could be served: the judgement begins afresh."""
    registry, setting, left = make_roster()
    audits = Audits(registry)
    setting.sink.pause()
    for _ in range(30):
        publish(setting.hub, setting.channels["a"])
    audits.run(10, every_seconds=3 * AUDIT_SECONDS)
    assert left == []
    audits.run()
    audits.run()
    assert setting.client.reason is CloseReason.SLOW


async def test_stalled_is_who_takes_nothing() -> None:
    """For `stall_seconds`, whatever its queue says; then it is aborted."""
    registry, setting, left = make_roster()
    audits = Audits(registry)
    setting.sink.pause(buffered_bytes=1000)
    audits.run(8)
    assert left == []
    audits.run(1)
    assert setting.sink.aborted
    assert setting.client.reason is CloseReason.STALLED


async def test_a_slow_one_that_moves_lives() -> None:
    """A byte now and then is progress; more that waits is none."""
    registry, setting, left = make_roster()
    audits = Audits(registry)
    setting.sink.pause(buffered_bytes=1000)
    for _ in range(5):
        audits.run(7)
        setting.sink.buffered_bytes -= 1
    assert left == []
    for _ in range(9):
        setting.sink.buffered_bytes += 100
        audits.run()
    assert setting.client.reason is CloseReason.STALLED


async def test_other_policies_drop_publications_and_not_clients() -> None:
    """A client whose queue may overflow is not slow."""
    registry, setting, left = make_roster()
    audits = Audits(registry)
    for _, queue in setting.client.subscriptions.values():
        queue.overflow = Overflow.DROP_OLDEST
    setting.sink.pause()
    for _ in range(30):
        publish(setting.hub, setting.channels["a"])
    audits.run(5)
    assert left == []


async def test_short_memory_takes_who_is_furthest_behind() -> None:
    """And nobody more than it takes."""
    registry, setting, _ = make_roster(memory_bytes=1000)
    other = Scene(FakeSink())
    other.client._on_change = registry.changed
    other.client.id = "2"
    registry.add(other.client)
    setting.sink.pause(buffered_bytes=600)
    other.sink.pause(buffered_bytes=500)
    registry.audit(0.0, retained_bytes=0)
    assert setting.client.reason is CloseReason.MEMORY
    assert other.client.reason is None


async def test_who_is_ready_is_not_looked_at() -> None:
    """The audit costs only those who are behind."""
    registry, setting, _ = make_roster()
    setting.client._join()
    assert not registry._behind
    setting.sink.pause()
    assert list(registry._behind) == [setting.client]


async def test_it_knows_for_how_long_somebody_is_behind() -> None:
    """As far as audits have seen; who is ready is not."""
    registry, setting, _ = make_roster()
    assert registry.find(setting.client.id) is setting.client
    setting.client._join()
    registry.audit(0.0, retained_bytes=0)
    assert registry.behind_seconds(setting.client) is None
    setting.sink.pause()
    registry.audit(1.0, retained_bytes=0)
    registry.audit(1.25, retained_bytes=0)
    assert registry.behind_seconds(setting.client) == 0.25


async def test_what_a_client_still_had_to_get_is_dropped_with_it() -> None:
    """Under the reason that it was closed with, and told with its farewell."""
    registry, setting, _ = make_roster()
    setting.sink.pause(buffered_bytes=5)
    for payload in (b"1", b"22"):
        publish(setting.hub, setting.channels["a"], payload)
    registry.audit(0.0, retained_bytes=0)
    registry.audit(0.25, retained_bytes=0)
    setting.client.close(CloseReason.STALLED)
    (gone,) = registry.farewells
    assert (gone.lag, gone.lag_bytes, gone.subscriptions, gone.behind_seconds) == (2, 8, 2, 0.25)
    assert {cause: count for cause, count in setting.hub.tally.dropped.items() if count} == {"closed_stalled": 2}


async def test_how_far_behind_it_was_is_kept_when_a_client_goes() -> None:
    """Also when no audit has seen it."""
    registry, setting, _ = make_roster()
    setting.sink.pause()
    for _ in range(3):
        publish(setting.hub, setting.channels["a"])
    setting.client.close()
    assert seen(setting.hub.tally.peak_lag) == {0: 1, 4: 1}
    assert len(registry) == 0


async def test_who_leaves_by_itself_was_not_dropped() -> None:
    """Whatever it has not read."""
    registry, setting, _ = make_roster()
    setting.sink.pause()
    publish(setting.hub, setting.channels["a"])
    setting.client.close()
    assert registry.farewells[0].lag == 1
    assert sum(setting.hub.tally.dropped.values()) == 0


async def test_lag_is_sampled() -> None:
    """At each audit once per client: those who are ready have none; the furthest that a queue was behind is kept."""
    registry, setting, _ = make_roster()
    setting.client._join()
    registry.audit(0.0, retained_bytes=0)
    setting.sink.pause()
    for _ in range(3):
        publish(setting.hub, setting.channels["a"])
    registry.audit(0.25, retained_bytes=0)
    tally = setting.hub.tally
    assert seen(tally.lag) == {0: 1, 4: 1}
    assert seen(tally.peak_lag) == {0: 1, 4: 1}, "one queue each on two channels"


def seen(histogram: Histogram) -> dict[float, int]:
    """{upper end of the bucket: how many are in it}."""
    return {bound: count for bound, count in zip(histogram.bounds, histogram.counts, strict=False) if count}


async def test_it_remembers_the_latest_who_have_gone() -> None:
    """With their reason; not more than fit on a page. Each is told of."""
    registry, setting, _ = make_roster()
    told: list[Farewell] = []
    registry._on_farewell = told.append
    setting.client.close(CloseReason.OPERATOR)
    assert registry.find(setting.client.id) is None
    (gone,) = registry.farewells
    assert told == [gone]
    assert (gone.id, gone.address, gone.reason) == ("1", "somewhere:1", CloseReason.OPERATOR)
    assert gone.unix_seconds > 1e9
    assert registry.farewells.maxlen == 200


async def test_who_leaves_between_two_steps_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit lets the loop turn, and what happens there counts: nobody is closed twice, or after catching up."""
    monkeypatch.setattr("fanwise.broadcaster.registry._STEP_CLIENTS", 1)
    registry, first, _ = make_roster()
    second = Scene(FakeSink())
    second.client.id = "2"
    second.client._on_change = registry.changed
    registry.add(second.client)
    for setting in (first, second):
        setting.sink.pause()
        publish(setting.hub, setting.channels["a"])
    Audits(registry).run(8)
    steps = registry.audit_in_steps(lambda: 2.0, retained_bytes=0)
    next(steps)
    assert first.sink.aborted
    second.client.close(CloseReason.OPERATOR)
    assert list(steps) == [None]
    assert not second.sink.aborted
    assert [gone.reason for gone in registry.farewells] == [CloseReason.STALLED, CloseReason.OPERATOR]


async def test_an_audit_that_takes_long_is_no_late_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the time from the end of one to the beginning of the next, or nobody would ever be stalled."""
    monkeypatch.setattr("fanwise.broadcaster.registry._STEP_CLIENTS", 1)
    registry, setting, _ = make_roster()
    setting.sink.pause()
    publish(setting.hub, setting.channels["a"])
    now = 0.0

    def clock() -> float:
        return now

    while not setting.sink.aborted:
        for _ in registry.audit_in_steps(clock, retained_bytes=0):
            now += 3 * AUDIT_SECONDS
        now += AUDIT_SECONDS
        assert now < 10
