from __future__ import annotations

import random

from .intervals import median_interval


def test_the_interval_holds_the_median() -> None:
    """It is about the samples that were given, and the same each time."""
    chance = random.Random(1)
    samples = [chance.gauss(1.2, 0.05) for _ in range(11)]
    interval = median_interval(samples, confidence=0.99)
    assert min(samples) <= interval.low < interval.median < interval.high <= max(samples)
    assert median_interval(samples, confidence=0.99) == interval


def test_more_confidence_is_a_wider_interval() -> None:
    """The ends move apart."""
    samples = [1 + number / 100 for number in range(21)]
    narrow, wide = median_interval(samples, confidence=0.5), median_interval(samples, confidence=0.99)
    assert wide.low < narrow.low <= narrow.high < wide.high


def test_one_wild_sample_moves_little() -> None:
    """The median does not care for one round that something has disturbed."""
    assert median_interval([1.0] * 10 + [9.0], confidence=0.99).high == 1.0


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    """Of 200 intervals of 90 %, about 180 hold the median of the distribution."""
    chance = random.Random(2)
    intervals = [median_interval([chance.gauss(0, 1) for _ in range(11)], confidence=0.9) for _ in range(200)]
    assert 165 <= sum(interval.low <= 0 <= interval.high for interval in intervals) <= 198
