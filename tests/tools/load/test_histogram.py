from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.tools.load.histogram import Histogram, bucket, lower_bound

nanoseconds = st.integers(min_value=0, max_value=(1 << 40) - 1)


@given(nanoseconds)
def test_a_bucket_holds_its_values(value: int) -> None:
    """Each value lies between its bucket's lower bound and the next one's, which are within 1.6 % of each other."""
    index = bucket(value)
    low, high = lower_bound(index), lower_bound(index + 1)
    assert low <= value < high
    assert high - low <= max(1, value / 63)


@pytest.mark.parametrize(("value", "like"), [(-5, 0), (1 << 50, (1 << 40) - 1)])
def test_what_lies_outside_counts_as_the_bound(value: int, like: int) -> None:
    """Nothing is dropped, and memory stays what it is."""
    assert bucket(value) == bucket(like)
    Histogram().add(value)


@given(st.lists(nanoseconds, min_size=1, max_size=50), st.integers(0, 10**9), st.integers(1, 5))
def test_adding_in_bulk_is_adding_each(latencies: list[int], since_ns: int, count: int) -> None:
    """Bisection counts what a loop would count."""
    times = sorted(since_ns + latency for latency in latencies)
    bulk, single = Histogram(), Histogram()
    bulk.add_ascending(times, since_ns, count)
    for time_ns in times:
        single.add(time_ns - since_ns, count)
    assert (bulk.sparse(), bulk.total, bulk.max_ns) == (single.sparse(), single.total, single.max_ns)


@given(st.lists(nanoseconds, min_size=1), st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_quantiles_are_within_a_bucket(latencies: list[int], share: float) -> None:
    """Of the value that a sorted list has at that place."""
    histogram = Histogram()
    for latency in latencies:
        histogram.add(latency)
    place = next(i for i in range(len(latencies)) if i + 1 >= share * len(latencies))
    exact = sorted(latencies)[place]
    assert abs(histogram.quantile_ns(share) - exact) <= max(1, exact / 63)


def test_merging_and_travelling() -> None:
    """Two histograms become their sum, and one that went through a pipe is the same."""
    one, other = Histogram(), Histogram()
    one.add(1_000_000, 3)
    other.add(5_000_000, 2)
    one.merge(pickle.loads(pickle.dumps(other)))
    assert one.total == 5
    assert one.max_ns == 5_000_000
    assert one.mean_ns == pytest.approx(2_600_000)
    assert len(one.sparse()) == 2


def test_an_empty_one_has_figures_too() -> None:
    """They are 0."""
    assert (Histogram().quantile_ns(0.99), Histogram().mean_ns) == (0, 0.0)
