from __future__ import annotations

from typing import Any

import pytest

from fanwise.tools.bench.errors import OptionError
from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.run.capacity import Bound, find_capacity
from fanwise.tools.bench.run.results import Results
from fanwise.tools.load.behaviour import Behaviour

from ....support.bench import MILLISECOND, dropped, score


def at(rate: float, *, knee: float, **changes: Any) -> Results:
    plan = Plan(url="ws://h/", clients=10, rate=rate, duration_seconds=1)
    latency_ns = (20 if rate <= knee else 200) * MILLISECOND
    published = {0: plan.warmup_messages + int(rate)}
    return score(plan=plan, latency_ns=latency_ns, **{"published": published, **changes})


@pytest.mark.parametrize("knee", [3.0, 100.0, 777.0, 40_000.0])
def test_the_knee_is_found(knee: float) -> None:
    """Within a tenth, from above and from below, in few runs."""
    capacity = find_capacity(Bound("p99", 100.0), 100.0, lambda rate: at(rate, knee=knee))
    assert capacity.held is not None
    assert knee / 1.1 <= capacity.held.rate <= knee
    assert len(capacity.steps) < 20
    assert capacity.limited is None


def test_the_generator_ends_the_search() -> None:
    """What held before is a lower bound, and it says why."""
    capacity = find_capacity(
        Bound("p99", 100.0), 100.0, lambda rate: at(rate, knee=1e9, cpu_seconds=0.99 if rate > 1000 else 0.1)
    )
    assert capacity.held is not None
    assert capacity.held.rate == 800
    assert "1600 messages/s" in (capacity.limited or "")


def test_a_server_that_holds_nothing() -> None:
    """The search ends at one message a second."""
    capacity = find_capacity(Bound("p99", 100.0), 100.0, lambda rate: at(rate, knee=0))
    assert capacity.held is None
    assert capacity.steps[-1].rate <= 1


def test_what_breaks_a_bound() -> None:
    """Latency, messages that were not taken in, and any flaw."""
    bound = Bound("p99", 100.0)
    assert bound.broken_by(at(50, knee=100)) is None
    assert "p99 was 2" in (bound.broken_by(at(150, knee=100)) or "")
    assert "only 20 of 50" in (bound.broken_by(at(50, knee=100, published={0: 25})) or "")
    assert "1 dropped" in (bound.broken_by(at(50, knee=100, **dropped("4008", kind=Behaviour.HEALTHY))) or "")


def test_parsing() -> None:
    """A percentile and a time; anything else is told what is allowed."""
    assert Bound.parse("p99=100ms") == Bound("p99", 100.0)
    assert Bound.parse("max=1.5s") == Bound("max", 1500.0)
    for text in ("p99", "p98=1ms", "p99=100", "p99=0ms", "p99<1ms"):
        with pytest.raises(OptionError, match=r"p50, p90, p99, p99\.9, max"):
            Bound.parse(text)
