from __future__ import annotations

import pytest

from fanwise.tools.bench.load.client import Client
from fanwise.tools.bench.load.plan import Place, Plan, Range
from fanwise.tools.load.behaviour import Behaviour

PLAN = Plan(url="ws://h/", slow_bytes_per_second=Range(1000, 100_000))


def test_a_client_draws_by_its_number_and_the_seed() -> None:
    """So a run can be repeated, however many processes carry the clients."""
    paces = [Client(Place(number, 0, Behaviour.SLOW), PLAN).bytes_per_second for number in range(100)]
    assert paces == [Client(Place(number, 0, Behaviour.SLOW), PLAN).bytes_per_second for number in range(100)]
    other = Plan(url="ws://h/", slow_bytes_per_second=Range(1000, 100_000), seed=1)
    assert paces != [Client(Place(number, 0, Behaviour.SLOW), other).bytes_per_second for number in range(100)]
    assert len(set(paces)) > 90
    assert all(1000 <= pace <= 100_000 for pace in paces)


def test_a_client_without_a_connection() -> None:
    """Is not asked for one."""
    client = Client(Place(3, 0, Behaviour.PAUSING), PLAN)
    assert client.is_read_late
    with pytest.raises(AssertionError, match="client 3 has no connection"):
        _ = client.opened
