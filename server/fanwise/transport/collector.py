"""The garbage collector, kept away from the sweeps: what a collection looks through is bounded, and rarely everything.

CPython collects when a thousand objects more were made than let go. Clients who come while others let go of theirs can
make tens of thousands until then, and the collection that follows looks through all of them in one turn of the event
loop. So the young objects are collected every 0.1 s, too.
"""

from __future__ import annotations

import gc
from typing import Final

# A full collection walks every object of every connection: hundreds of milliseconds with 10,000 clients. Ended
# connections and requests rarely refer to themselves, so rare ones are enough (`benchmarks/test_gc.py`). The youngest
# 1,000 objects take about a millisecond, and the 2,000 before them as much again.
GC_THRESHOLDS: Final = (1_000, 2, 800_000)
_YOUNG: Final = 1  # the oldest generation whose objects are young


def tune_gc() -> None:
    """Keeps collections away from the sweeps: freezes the objects of the start, and makes full collections rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def collect_young() -> None:
    """Collects the objects that were made since the last time. O(them): to be called ten times a second."""
    gc.collect(_YOUNG)
