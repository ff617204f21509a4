from __future__ import annotations

import pytest

from fanwise.core.codes import ErrorCode
from fanwise.core.counters import LAG_BOUNDS, TIME_BOUNDS, Counters, Histogram
from fanwise.core.queue import Gap
from fanwise.core.reasons import CloseReason, GapReason


def test_a_bound_belongs_to_its_bucket() -> None:
    """As Prometheus has it: `le` means less or equal. What is above the last bound has a place too."""
    histogram = Histogram((0, 1, 2))
    for value in (0, 1, 1.5, 2, 3):
        histogram.observe(value)
    assert histogram.counts == [1, 1, 2, 1]
    assert (histogram.count, histogram.sum) == (5, 7.5)


def test_one_observation_may_stand_for_many() -> None:
    """A thousand clients that get the same slice are one addition."""
    histogram = Histogram((1,))
    histogram.observe(0.5, 1000)
    assert (histogram.counts, histogram.sum) == ([1000, 0], 500)


def test_moving_leaves_the_number_as_it_is() -> None:
    """What was counted lower is counted higher."""
    histogram = Histogram((0, 1, 2))
    histogram.observe(0)
    histogram.move(0, 2)
    assert (histogram.counts, histogram.sum) == ([0, 0, 1, 0], 2)


@pytest.mark.parametrize("bounds", [LAG_BOUNDS, TIME_BOUNDS])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    """Or finding a bucket by halving would not work."""
    assert list(bounds) == sorted(set(bounds))


def test_a_gap_is_counted_with_what_is_missing() -> None:
    """Once as a gap, and as many publications as it spans."""
    tally = Counters()
    assert tally.gap(Gap(3, 7, GapReason.SLOW)) == 5
    assert tally.gap(Gap(1, 9, GapReason.EPOCH)) == 0, "how many were in a log that is gone, nobody knows"
    assert tally.gaps == {GapReason.HISTORY: 0, GapReason.EPOCH: 1, GapReason.SLOW: 1, GapReason.BACKPLANE: 0}
    assert tally.dropped["gap_slow"] == 5


def test_every_cause_is_there_from_the_start() -> None:
    """So that the number of series never changes."""
    tally = Counters()
    assert len(tally.dropped) == len(GapReason) + len(CloseReason) - 1
    assert set(tally.closed) == set(CloseReason)
    assert "closed_normal" not in tally.dropped


def test_rejections_are_a_closed_set() -> None:
    """Every code of the table can be counted, and no other."""
    tally = Counters()
    for code in ErrorCode:
        tally.reject(code)
    assert set(tally.rejected.values()) == {1}
    with pytest.raises(KeyError):
        tally.rejected["whatever"]  # type: ignore[index]


def test_a_client_that_leaves_by_itself_was_not_dropped() -> None:
    """Whatever it has not read; for any other reason it counts as dropped."""
    tally = Counters()
    tally.close(CloseReason.NORMAL, lag=7)
    assert sum(tally.dropped.values()) == 0
    tally.close(CloseReason.SLOW, lag=7)
    assert {cause: count for cause, count in tally.dropped.items() if count} == {"closed_slow": 7}
    assert {reason: count for reason, count in tally.closed.items() if count} == {
        CloseReason.NORMAL: 1,
        CloseReason.SLOW: 1,
    }


def test_each_histogram_is_named_with_its_unit() -> None:
    """As `/stats` shows them, all of them."""
    tally = Counters()
    named = tally.histograms()
    assert {name.rpartition("_")[2] for name in named} == {"bytes", "messages", "second", "seconds"}
    assert named.pop("age_seconds").counts == tally.ready_age.counts, "the sum of two others"
    assert {id(histogram) for histogram in named.values()} == {
        id(getattr(tally, name)) for name in tally.__slots__ if isinstance(getattr(tally, name), Histogram)
    }
