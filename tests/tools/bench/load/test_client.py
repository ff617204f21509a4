from __future__ import annotations

import pytest

from fanwise.tools.bench.load.client import Client
from fanwise.tools.bench.load.plan import Place, Plan
from fanwise.tools.bench.load.recording import Range
from fanwise.tools.load.behaviour import Behaviour

PLAN = Plan(url="ws://h/", slow_bytes_per_second=Range(1000, 100_000))


def paces(**changes: int) -> list[float]:
    plan = Plan(url="ws://h/", slow_bytes_per_second=Range(1000, 100_000), **changes)  # type: ignore[arg-type]
    return [Client(Place(number, 0, Behaviour.SLOW), plan).supply.at(0.0)[1] for number in range(100)]


def test_a_client_draws_by_its_number_and_the_seed() -> None:
    """So a run can be repeated, however many processes carry the clients."""
    assert paces() == paces(workers=3)
    assert paces() != paces(seed=1)
    assert len(set(paces())) > 90
    assert all(1000 <= pace <= 100_000 for pace in paces())


def test_a_client_without_a_connection() -> None:
    """Is not asked for one."""
    client = Client(Place(3, 0, Behaviour.PAUSING), PLAN)
    assert client.is_read_late
    with pytest.raises(AssertionError, match="client 3 has no connection"):
        _ = client.opened
