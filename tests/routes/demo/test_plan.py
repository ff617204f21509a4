from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fanwise.routes.demo.plan import Plan


def test_a_plan_has_three_numbers() -> None:
    """None of them need be said."""
    plan = Plan.model_validate({"clients": 20, "rate": 7, "size": 16})
    assert (plan.clients, plan.rate_per_second, plan.size_bytes) == (20, 7, 16)
    plan = Plan.model_validate({})
    assert (plan.clients, plan.rate_per_second, plan.size_bytes) == (25, 40, 16_384)


def test_defaults_give_way_to_what_a_server_allows() -> None:
    """Numbers that were asked for do not: they are refused elsewhere, with a reason."""
    assert Plan().within(max_clients=10, max_message_bytes=100).model_dump() == {
        "clients": 10,
        "rate_per_second": 40.0,
        "size_bytes": 100,
    }
    asked = Plan.model_validate({"clients": 20, "size": 200})
    assert asked.within(max_clients=10, max_message_bytes=100) == asked
    assert Plan().within(max_clients=100, max_message_bytes=65_536) == Plan()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mode": "other"}, "mode"),
        ({"clients": 1}, "clients"),
        ({"clients": 2.5}, "clients"),
        ({"clients": "5"}, "clients"),
        ({"clients": True}, "clients"),
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
    """Each field by itself; nothing is taken for something else."""
    with pytest.raises(ValidationError) as caught:
        Plan.model_validate({"clients": 5} | change)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]
