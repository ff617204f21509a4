from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.tools.rates import WorkerRates, between, increase, quantile

from ..support.documents import WORKER, document, histogram, of_workers

BEFORE = document()
LATER = document(
    uptime_seconds=14.5,
    totals={"connections": 210, "publications": 1_600, "deliveries": 65_000, "delivered_bytes": 8_000_000},
    dropped={"gap_slow": 5, "closed_slow": 16},
    closed={"normal": 9, "slow": 3},
    histograms={
        "ready_age_seconds": histogram(0, 98, 2, 0),
        "catching_up_age_seconds": histogram(0, 0, 2, 0),
        "loop_lag_seconds": histogram(30, 0, 0, 0),
    },
)


def test_rates_are_differences_by_the_server_s_own_time() -> None:
    """Per second of its uptime, which no clock can set back; percentiles of what happened in between."""
    rates = between(BEFORE, LATER)
    assert rates is not None
    assert (rates.seconds, rates.publications, rates.deliveries, rates.delivered_bytes) == (2, 300, 12_000, 1_500_000)
    assert (rates.drops, rates.missed) == (1, {"closed_slow": 3})
    assert rates.ready_p50_seconds == pytest.approx(0.001 + 0.009 * 50 / 98)
    assert rates.ready_p99_seconds == pytest.approx(0.055)
    assert rates.catching_up_p99_seconds == pytest.approx(0.0991)
    assert rates.loop_p99_seconds == pytest.approx(0.00099)


@pytest.mark.parametrize(
    "after",
    [
        {**LATER, "server": {**BEFORE["server"], "pid": 43}},
        {**LATER, "uptime_seconds": 0.5},
        {**LATER, "totals": {**LATER["totals"], "deliveries": 3}},
        {**LATER, "dropped": {"gap_slow": 0, "closed_slow": 0}},
        {**LATER, "uptime_seconds": 12.5},
    ],
    ids=["another process", "started anew", "counts went down", "drops went down", "no time has passed"],
)
def test_another_run_makes_no_rates(after: dict[str, object]) -> None:
    """Nothing negative, nothing from before a restart, nothing divided by zero."""
    assert between(BEFORE, after) is None


def test_rates_of_all_workers_ask_for_the_same_workers() -> None:
    """Whichever of them answers; a worker that was silent has no rates of its own."""
    other = {**WORKER, "worker": "0000000b"}
    before = of_workers(WORKER, other)
    grown = {**WORKER, "uptime_seconds": 14.5, "publications": 520, "deliveries": 20_510, "cpu_seconds": 1.6}
    after = of_workers(other, grown, uptime_seconds=14.5, server={**BEFORE["server"], "pid": 43})
    rates = between(before, after)
    assert rates is not None
    assert rates.workers == {"3f9a01c4": WorkerRates(10, 5, 0.5)}
    assert between(of_workers(WORKER), after) is None
    assert between(BEFORE, after) is None


def test_a_server_at_rest_has_rates_and_no_percentiles() -> None:
    """Nothing happened: 0 per second, and no time that it took."""
    rates = between(BEFORE, {**BEFORE, "uptime_seconds": 13.5})
    assert rates is not None
    assert (rates.publications, rates.drops) == (0, 0)
    assert rates.ready_p99_seconds is None
    assert rates.loop_p99_seconds is None


@pytest.mark.parametrize(
    "histograms",
    [
        {"loop_lag_seconds": histogram(9, 5, 0, 0)},
        {
            "loop_lag_seconds": {"bounds": [1.0, 2.0], "counts": [90, 90, 90], "sum": 0.0},
        },
    ],
    ids=["a bucket went down", "other buckets"],
)
def test_a_histogram_that_cannot_be_compared_makes_no_percentile(histograms: dict[str, object]) -> None:
    """The others still do."""
    rates = between(BEFORE, {**LATER, "histograms": {**LATER["histograms"], **histograms}})
    assert rates is not None
    assert rates.loop_p99_seconds is None
    assert rates.ready_p50_seconds is not None


def test_increase() -> None:
    """What is new has grown from nothing."""
    assert increase({"a": 1}, {"a": 3, "b": 2}) == {"a": 2, "b": 2}
    assert increase({"a": 1}, {"a": 0, "b": 2}) is None


@pytest.mark.parametrize(
    ("bounds", "counts", "share", "value"),
    [
        ([1, 2, 4], [0, 0, 0, 0], 0.5, None),
        ([1, 2, 4], [], 0.5, None),
        ([], [3], 0.5, None),
        ([1, 2, 4], [10, 0, 0, 0], 0.5, 0.5),
        ([1, 2, 4], [0, 10, 0, 0], 0.5, 1.5),
        ([1, 2, 4], [5, 0, 5, 0], 1.0, 4.0),
        ([1, 2, 4], [5, 0, 5, 0], 0.5, 1.0),
        ([1, 2, 4], [1, 0, 0, 99], 0.99, 4),
        ([0, 1, 2], [100, 0, 0, 0], 0.99, 0.0),
    ],
)
def test_quantiles(bounds: list[float], counts: list[float], share: float, value: float | None) -> None:
    """Straight within a bucket; above all bounds, the last of them; of a bucket for 0, exactly 0."""
    assert quantile(bounds, counts, share) == value


@given(st.lists(st.integers(0, 50), min_size=5, max_size=5), st.floats(0.01, 1), st.floats(0.01, 1))
def test_quantiles_are_in_order_and_within_bounds(counts: list[int], one: float, other: float) -> None:
    """A larger share is no smaller a value."""
    bounds = [0.5, 1.0, 2.0, 8.0]
    low, high = (quantile(bounds, counts, share) for share in sorted((one, other)))
    if low is None or high is None:
        assert sum(counts) == 0
    else:
        assert 0 <= low <= high <= 8
