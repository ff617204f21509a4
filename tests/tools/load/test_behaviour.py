from __future__ import annotations

from fanwise.tools.load.behaviour import Behaviour


def test_values_are_the_names_in_documents() -> None:
    """JSON, tables and pages of `bench` show them."""
    assert [str(one) for one in Behaviour] == [
        "healthy",
        "slow",
        "stalled",
        "flapping",
        "pausing",
        "replayed",
        "publisher",
    ]
