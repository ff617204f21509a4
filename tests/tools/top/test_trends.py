from __future__ import annotations

import pytest

from fanwise.tools.top.trends import KEPT, Trends, spark


@pytest.mark.parametrize(
    ("values", "width", "lines", "shown"),
    [
        ([0, 4, 8], 10, 1, [" ▄█"]),
        ([1000, 1], 10, 1, ["█▁"]),
        ([None, 8, 4, 12, 16], 3, 2, [" ▄█", "▄██"]),
        ([0, 0], 5, 1, ["  "]),
        ([], 5, 2, ["", ""]),
        ([1], 0, 1, [""]),
    ],
)
def test_a_line_of_blocks(values: list[float | None], width: int, lines: int, shown: list[str]) -> None:
    """From 0 to the largest of the latest; what is not 0 is to be seen."""
    assert spark(values, width=width, lines=lines) == shown


def test_the_latest_are_kept() -> None:
    """Of each tile, whatever comes."""
    trends = Trends()
    for value in range(KEPT + 5):
        trends.add({"clients": value})
    assert (len(trends.of("clients")), trends.of("clients")[-1], trends.of("other")) == (KEPT, KEPT + 4, [])
