from __future__ import annotations

from random import Random

from fanwise.tools.bench.load.recording import Range


def test_what_clients_draw_lies_in_the_range() -> None:
    """Half of the logarithmic ones below the geometric mean."""
    chance, bound = Random(1), Range(10, 1000)
    even = [bound.even(chance) for _ in range(1000)]
    logarithmic = [bound.logarithmic(chance) for _ in range(1000)]
    assert all(10 <= value <= 1000 for value in (*even, *logarithmic))
    assert 400 < sum(value < 505 for value in even) < 600
    assert 400 < sum(value < 100 for value in logarithmic) < 600
