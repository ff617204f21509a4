from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from fanwise.transport.server import GC_THRESHOLDS, tune_gc


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
