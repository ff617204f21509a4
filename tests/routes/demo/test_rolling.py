from __future__ import annotations

import pytest

from fanwise.routes.demo.rolling import RollingWindow


def test_ages_are_those_of_the_last_second() -> None:
    """What is older is forgotten, a quarter of a second at a time."""
    window = RollingWindow(began=0.0)
    window.add(0.1, 7.0)
    for _ in range(99):
        window.add(1.3, 0.001)
    window.add(1.3, 0.5)
    assert window.percentiles(1.2, 1.0) == pytest.approx([7.0], rel=0.01)
    assert window.percentiles(1.3, 0.5, 0.99, 1.0) == pytest.approx([0.001, 0.001, 0.5], rel=0.01)
    assert window.percentiles(2.6, 0.5) is None


def test_the_rate_is_per_second() -> None:
    """Also in the first one, and when nothing comes any more."""
    window = RollingWindow(began=10.0)
    assert window.per_second(10.0) == 0
    for step in range(100):
        window.add(10 + step / 50, 0.001)
        if step == 24:
            assert window.per_second(10.5) == 50
    assert window.per_second(12.0) == pytest.approx(50, rel=0.02)
    assert window.per_second(14.0) == 0


def test_it_takes_bounded_memory() -> None:
    """However long it runs, and whatever comes."""
    window = RollingWindow(began=0.0)
    for step in range(10_000):
        window.add(step / 10, step * 1e-4)
    assert len(window._steps) <= 5
