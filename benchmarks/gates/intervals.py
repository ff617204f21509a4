"""What measurements say, and how surely."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

RESAMPLES = 2000  # the ends of the interval move by less than a thousandth with more


class Interval(NamedTuple):
    """A median, and where it is with the confidence that was asked for."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def median_interval(samples: Sequence[float], *, confidence: float, seed: int = 0) -> Interval:
    """The median of `samples` with its bootstrap percentile interval; the same for the same samples."""
    chance = random.Random(seed)
    medians = sorted(median(chance.choices(samples, k=len(samples))) for _ in range(RESAMPLES))
    cut = round((1 - confidence) / 2 * RESAMPLES)
    return Interval(medians[cut], median(samples), medians[RESAMPLES - 1 - cut])
