from __future__ import annotations

from fanwise.broadcaster.state import State
from fanwise.broadcaster.statistics import ClientStatistics


def test_the_names_are_what_statistics_tell() -> None:
    """`/clients` shows the value, so it is part of the outside."""
    assert [state.value for state in State] == ["behind", "ready", "closing", "closed"]
    assert "state" in ClientStatistics._fields
