"""What has every gate look at every planted change: `tox -e planted`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import planted
from .planted_table import UNCHANGED, Result, page

RESULTS = [
    Result("a lock", True, "instructions", "append +5 %"),
    Result("a lock", True, "calls", "ops: writes: 1 -> 2"),
    Result("a lock", True, "memory", ""),
    Result("a careless line", False, "memory", ""),
    Result(UNCHANGED, False, "memory", ""),
]


def test_a_page_says_what_was_caught_and_where() -> None:
    """New changes are bold; the cell of a gate that was not asked is empty."""
    said = page(RESULTS, 3)
    assert "| **a lock** | append +5 % |  | no | ops: writes: 1 to 2 |  |  |" in said
    assert "2 of 3 planted changes were looked at, and 1 of those were caught, 1 of them new" in said
    assert "A copy in which nothing was planted is caught by none." in said
    assert "caught by none" not in page([RESULTS[0], RESULTS[-1]._replace(caught="more")], 3)


def test_what_was_looked_at_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was ended goes on where it was."""
    results = tmp_path / "planted.jsonl"
    results.write_text("".join(json.dumps(result._asdict()) + "\n" for result in RESULTS))
    monkeypatch.setattr(planted, "Unchanged", lambda _directory: pytest.fail("it looks again"))
    assert planted.run([None], ["memory"], results) == RESULTS


def test_a_regression_is_read_with_its_size() -> None:
    """As pytest-benchmark reports it."""
    line = "\ttest_encode[plain_frame] (0001_clean) - Field 'mean' has failed PercentageRegressionCheck: 12.345 > 10.0"
    assert planted.regressions(line) == [(12.345, "test_encode[plain_frame]")]
