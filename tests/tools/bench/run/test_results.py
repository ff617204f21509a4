from __future__ import annotations

import pytest

from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.run import results as module
from fanwise.tools.bench.run.results import Results
from fanwise.tools.load.behaviour import Behaviour

from ....support.bench import MILLISECOND, START_NS, delivered, dropped, score, snapshot


def test_the_figures_of_two_workers_are_summed() -> None:
    """Counters from their newest snapshots, latencies from all of them."""
    plan = Plan(url="ws://h/", workers=2)
    total = Results(plan, start_ns=START_NS, stopped_ns=START_NS + 2_000_000_000)
    total.add(snapshot(0, tallies=delivered(100, 2 * MILLISECOND)))
    total.add(snapshot(1, tallies=delivered(50, 9 * MILLISECOND), published={0: 5 + 3}, cpu_seconds=1.0))
    later = delivered(130, 2 * MILLISECOND, elapsed_ns=2_000_000_000)
    total.add(snapshot(0, tallies=later, published={1: 5 + 4}, server_cpu_seconds=0.9, **dropped("4008 slow")))
    assert (total.deliveries, total.latency.total) == (180, 280)
    assert total.published == 7
    assert total.deliveries_per_second == pytest.approx(90)
    assert total.cpu_per_delivery_ns == pytest.approx(0.9e9 / 180)
    assert total.server_share == pytest.approx(0.45)
    assert [effort.cpu_share for effort in total.efforts] == [0, 0.5]
    assert total.drop_counts == {(Behaviour.STALLED, "4008 slow"): 1}
    assert total.quantile_ms("max") == 9


def test_flaws_are_those_of_clients_that_read() -> None:
    """That a stalled client was dropped is what it was there for."""
    assert score(**dropped("4009")).flaws == {}
    assert score(**dropped("4008", kind=Behaviour.HEALTHY)).flaws == {"dropped": 1}
    tallies = delivered(10, MILLISECOND)
    tallies[Behaviour.SLOW].lost = 5
    tallies[Behaviour.FLAPPING].lost = 2
    assert score(tallies=tallies, undelivered=3).flaws == {"lost": 2, "undelivered": 3}


def test_the_timeline_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours become one, and nothing is lost of their sums."""
    monkeypatch.setattr(module, "MAX_MOMENTS", 10)
    long = Results(Plan(url="ws://h/"), start_ns=START_NS)
    for second in range(100):
        long.add(snapshot(tallies=delivered(second, MILLISECOND), at_ns=START_NS + second * 1_000_000_000))
        long.mark()
        long.mark()
        assert len(long.moments) <= 10
    assert sum(moment.deliveries for moment in long.moments) == sum(range(100))
    assert long.moments[-1].at_seconds == 99


def test_drops_that_are_told_one_by_one_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are still counted."""
    monkeypatch.setattr(module, "MAX_DROPS", 5)
    many = score(**dropped("4008", times=8))
    assert len(many.drops) == 5
    assert many.dropped() == 8


def test_nothing_at_all() -> None:
    """A run in which nothing came has figures too."""
    nothing = score(tallies=delivered(0, 0), server_cpu_seconds=None)
    assert nothing.cpu_per_delivery_ns is None
    assert nothing.server_share is None
    assert Results(Plan(url="ws://h/")).deliveries_per_second == 0
