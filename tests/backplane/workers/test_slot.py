from __future__ import annotations

from fanwise.backplane.workers.slot import Deaths


def test_pauses_grow_until_it_is_too_much() -> None:
    """Half a second, then twice as long each time; the fifth death in 30 s is the last."""
    now = 0.0
    deaths = Deaths(lambda: now)
    assert [deaths.count() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, None]


def test_a_long_life_counts() -> None:
    """Deaths of more than 30 s ago are forgotten."""
    times = iter([0.0, 20.0, 40.0, 71.0])
    deaths = Deaths(lambda: next(times))
    assert [deaths.count() for _ in range(4)] == [0.5, 1.0, 1.0, 0.5]
