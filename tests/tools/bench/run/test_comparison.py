from __future__ import annotations

import pytest

from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.run.comparison import compare

from ....support.bench import MILLISECOND, delivered, score


def test_factors() -> None:
    """Of throughput, latency and CPU for each delivery."""
    factors = compare(score(deliveries=9000), score(deliveries=100, latency_ns=40 * MILLISECOND), rival="tutorial")
    assert factors.throughput == pytest.approx(90)
    assert factors.p99 == pytest.approx(20, rel=0.04)
    assert factors.cpu == pytest.approx(90)
    assert factors.sentences()[0] == "90.0 times the deliveries per second"
    assert factors.record()["cpu_per_delivery"] == factors.cpu


def test_at_a_rate_throughput_is_no_merit() -> None:
    """Both deliver what they are given."""
    plan = Plan(url="", rate=20.0)
    assert compare(score(plan=plan), score(plan=plan), rival="queue").throughput is None


def test_where_the_generator_limited() -> None:
    """A factor over a limited Fanwise is a lower bound; over a limited rival there is none."""
    ours, busy = score(deliveries=9000), score(cpu_seconds=0.99, deliveries=100)
    assert compare(busy, score(deliveries=10), rival="queue").sentences()[0].startswith("at least 10.0 times")
    told = compare(ours, busy, rival="queue").sentences()
    assert len(told) == 1
    assert told[0].startswith("not comparable: queue: the generator used")


def test_a_rival_that_stops() -> None:
    """Is not worth a division by zero."""
    factors = compare(score(), score(tallies=delivered(0, 0), undelivered=5), rival="tutorial")
    assert factors.throughput is None
    assert factors.sentences() == ["tutorial left 5 messages undelivered after 5 s of waiting"]
