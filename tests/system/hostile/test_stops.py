"""SIGTERM during attacks ends the server in time and with status 0."""

from __future__ import annotations

import pytest

from .rows import FLOODS
from .stops import stop_under

LIMIT_SECONDS = 30.0  # a flood that was not bounded has taken 34


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_server_stops_under_attack(loop: str) -> None:
    """Under all floods at once; `python -m tests.system.hostile` has them one by one, each ten times."""
    figures = stop_under(*FLOODS, loop=loop, limit_seconds=LIMIT_SECONDS)
    assert [str(figure) for figure in figures if not figure.held] == []
