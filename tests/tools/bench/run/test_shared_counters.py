from __future__ import annotations

from ctypes import c_uint64

from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.run.shared_counters import SharedCounters


def counters(workers: int, channels: int) -> SharedCounters:
    plan = Plan(url="ws://h/", workers=workers, channels=channels)
    return SharedCounters((c_uint64 * SharedCounters.cells_needed(plan))(), workers=workers, channels=channels)


def test_the_last_client_of_all_workers_counts() -> None:
    """A worker without clients of a channel does not; without any client it is 0."""
    shared = counters(2, 2)
    shared.post(0, 0, 17)
    shared.post(1, 0, 12)
    shared.post(0, 1, 3)
    shared.post(1, 1, None)
    assert [shared.lowest(0), shared.lowest(1)] == [12, 3]
    shared.post(0, 1, None)
    assert shared.lowest(1) == 0


def test_what_was_sent() -> None:
    """By channel, and whether all are through."""
    shared = counters(3, 2)
    shared.sent(0, 40, finished=True)
    shared.sent(1, 41, finished=False)
    assert shared.all_sent() == [40, 41]
    assert not shared.all_finished()
    shared.sent(1, 42, finished=True)
    assert shared.all_finished()
