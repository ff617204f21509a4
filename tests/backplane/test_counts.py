from __future__ import annotations

from fanwise.backplane.counts import Counts


def test_a_node_begins_at_nothing() -> None:
    """And a publication within a millisecond, as most are, can be told from one within five seconds."""
    counts = Counts()
    assert {getattr(counts, name) for name in Counts.__slots__ if name not in ("publish", "delay")} == {0}
    assert (counts.publish.bounds[0], counts.publish.bounds[-1]) == (0.0005, 5.0)
    assert counts.publish.count == counts.delay.count == 0
