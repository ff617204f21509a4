from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fanwise.routes.demo.plan import Plan
from fanwise.tools.load.behaviour import Behaviour


def test_a_plan_says_how_many_there_are_of_each_kind() -> None:
    """Who is neither slow nor stalled is healthy."""
    plan = Plan.model_validate({"mode": "fanwise", "clients": 20, "slow": 3, "stalled": 1, "rate": 7, "size": 16})
    assert plan.counts() == {Behaviour.HEALTHY: 16, Behaviour.SLOW: 3, Behaviour.STALLED: 1}
    assert (plan.rate_per_second, plan.size_bytes) == (7, 16)


def test_most_of_it_need_not_be_said() -> None:
    """Everybody is healthy, and gets 50 messages a second of 4 KiB."""
    plan = Plan.model_validate({"mode": "tutorial", "clients": 2})
    assert plan.counts() == {Behaviour.HEALTHY: 2, Behaviour.SLOW: 0, Behaviour.STALLED: 0}
    assert (plan.rate_per_second, plan.size_bytes) == (50, 4096)


def test_everybody_may_be_stalled() -> None:
    """There need not be a healthy client."""
    assert Plan(mode="fanwise", clients=3, slow=1, stalled=2).counts()[Behaviour.HEALTHY] == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mode": "other"}, "mode"),
        ({"clients": 0}, "clients"),
        ({"clients": 1.5}, "clients"),
        ({"clients": "5"}, "clients"),
        ({"clients": True}, "clients"),
        ({"slow": -1}, "slow"),
        ({"stalled": -1}, "stalled"),
        ({"slow": 3, "stalled": 3}, "stalled"),
        ({"slow": 6}, "stalled"),
        ({"rate": 0.5}, "rate"),
        ({"rate": 200.5}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"rate": "50"}, "rate"),
        ({"size": 15}, "size"),
        ({"size": 16_385}, "size"),
        ({"extra": 1}, "extra"),
    ],
)
def test_what_is_out_of_bounds_is_refused(change: dict[str, Any], field: str) -> None:
    """Each field by itself, and the slow and the stalled together; nothing is taken for something else."""
    with pytest.raises(ValidationError) as caught:
        Plan.model_validate({"mode": "fanwise", "clients": 5} | change)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]
