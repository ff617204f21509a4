from __future__ import annotations

from typing import Any

import pytest

from fanwise.tools.bench.run.bottleneck import Effort, bottleneck

FREE: dict[str, Any] = {
    "efforts": [Effort(0.5, 0.01)],
    "saturated": True,
    "server_share": 0.9,
    "lag_p99_ns": 1_000_000,
    "latency_p99_ns": 6_000_000,
    "late_p99_ns": 0,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"efforts": [Effort(0.92, 0.01)]},  # both sides of a closed loop are busy
        {"efforts": [Effort(0.92)], "server_share": None},
        {"efforts": [Effort(0.88)], "server_share": 0.3, "saturated": False},  # at a rate the server may idle
        {"efforts": [Effort(0.96)], "server_share": 0.99, "server_cpus": 1},  # it has nothing left either
        {"lag_p99_ns": 4_900_000},
        {"lag_p99_ns": 40_000_000, "latency_p99_ns": 90_000_000},
        {"late_p99_ns": 19_000_000},
    ],
)
def test_the_generator_was_not_the_bottleneck(changes: dict[str, Any]) -> None:
    """It had time left, read in time and sent in time."""
    assert bottleneck(**{**FREE, **changes}) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"efforts": [Effort(0.96)]}, "used 96% of a core"),
        ({"efforts": [Effort(0.96)], "server_share": 0.99, "server_cpus": 2}, "used 96% of a core"),
        ({"efforts": [Effort(0.96)], "server_share": 0.97, "server_cpus": 1}, "used 96% of a core"),
        ({"efforts": [Effort(0.5, 0.3)], "server_share": 0.99, "server_cpus": 1}, "waited for one 30%"),
        ({"efforts": [Effort(0.8, 0.16)]}, "waited for one 16%"),
        ({"efforts": [Effort(0.2, 0.3)]}, "waited for one 30%"),
        ({"efforts": [Effort(0.2), Effort(0.97)]}, "generator process 1"),
        ({"efforts": [Effort(0.88)], "server_share": 0.5}, "the server only 50%"),
        ({"lag_p99_ns": 5_100_000}, "read 5.1 ms late"),
        ({"lag_p99_ns": 46_000_000, "latency_p99_ns": 90_000_000}, "of 90.0 ms latency"),
        ({"late_p99_ns": 21_000_000, "saturated": False}, "21.0 ms later than planned"),
    ],
)
def test_the_generator_was_the_bottleneck(changes: dict[str, Any], says: str) -> None:
    """And it says by what."""
    assert says in (bottleneck(**{**FREE, **changes}) or "")
