from __future__ import annotations

import pytest

from fanwise.tools.bench.output.charts import bars, curve, marks


@pytest.mark.parametrize("points", [[(1.0, 1.0)], [(0.001, 0.2), (0.5, 0.3), (1000.0, 0.5)]])
def test_a_distribution_has_a_bar_for_each_point(points: list[tuple[float, float]]) -> None:
    """And says what it means when asked."""
    svg = bars(points)
    assert svg.count("<rect") == len(points)
    assert f"{points[0][1]:.2%}" in svg


def test_two_curves() -> None:
    """Each with its own scale."""
    svg = curve([(1, 10.0), (2, 2_000_000.0)], [(1, 3.0), (2, 4.0)])
    assert svg.count("<polyline") == 2
    assert "2 M" in svg
    assert ">4<" in svg


def test_marks_are_bounded() -> None:
    """Ten thousand drops do not make ten thousand dots."""
    assert marks([0.5, 0.5, 1.0], end=2).count("<circle") == 3
    assert marks([0.1] * 10_000, end=1).count("<circle") == 2000


def test_nothing_to_show() -> None:
    """Is said."""
    assert "nothing" in bars([])
    assert "nothing" in curve([], [])
