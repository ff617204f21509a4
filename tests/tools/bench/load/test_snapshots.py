from __future__ import annotations

import pickle

from ....support.bench import MILLISECOND, delivered, dropped, snapshot


def test_a_snapshot_crosses_processes() -> None:
    """With everything in it, and in a few kilobytes."""
    made = snapshot(3, tallies=delivered(10, MILLISECOND), **dropped("4008"))
    data = pickle.dumps(made)
    assert len(data) < 8192
    arrived = pickle.loads(data)
    assert arrived.drops == made.drops
    assert {kind: tally.latency.sparse() for kind, tally in arrived.tallies.items()} == {
        kind: tally.latency.sparse() for kind, tally in made.tallies.items()
    }
