from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from fanwise.transport.collector import GC_THRESHOLDS, collect_young, tune_gc


@pytest.fixture
def _gc_as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_gc_as_it_was")
def test_the_collector_is_kept_away() -> None:
    """What lives as long as the process is frozen, full collections are rare."""
    tune_gc()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == GC_THRESHOLDS


class _Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.myself = self


@pytest.mark.usefixtures("_gc_as_it_was")
def test_young_objects_are_let_go_of() -> None:
    """The young ones are looked through, and none of them is left for the next collection."""
    gc.set_threshold(0)  # by itself CPython collects nothing
    gc.collect()
    young, kept = weakref.ref(_Ring()), [_Ring() for _ in range(1_000)]
    collect_young()
    assert young() is None
    assert len(gc.get_objects(generation=0)) + len(gc.get_objects(generation=1)) < len(kept)
