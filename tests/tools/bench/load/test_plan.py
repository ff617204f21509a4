from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fanwise.tools.bench.load.plan import RESUMABLE, Plan, Range, new_token
from fanwise.tools.load.behaviour import Behaviour


def kinds(**changes: Any) -> list[Behaviour]:
    return [place.kind for place in Plan(url="ws://h/", **changes).places()]


def test_odd_clients_are_spread() -> None:
    """As many as asked for, and not one beside the other."""
    found = kinds(clients=1000, slow=50, stalled=10, flapping=10, pausing=20)
    counts = {Behaviour.SLOW: 50, Behaviour.STALLED: 10, Behaviour.FLAPPING: 10, Behaviour.PAUSING: 20}
    assert Counter(found) == {Behaviour.HEALTHY: 910, **counts}
    odd = [place for place, kind in enumerate(found) if kind is not Behaviour.HEALTHY]
    assert min(b - a for a, b in pairwise(odd)) > 10
    assert Counter(kinds(clients=7, stalled=6))[Behaviour.STALLED] == 6


@given(st.integers(0, 40), st.integers(0, 40), st.data())
def test_some_slow_and_pausing_clients_resume(slow: int, pausing: int, data: st.DataObject) -> None:
    """As many as asked for, spread over both kinds."""
    resuming = data.draw(st.integers(0, slow + pausing))
    places = Plan(url="ws://h/", clients=100, slow=slow, pausing=pausing, stalled=5, resuming=resuming).places()
    able = [place.resumes for place in places if place.kind in RESUMABLE]
    assert sum(able) == resuming == sum(place.resumes for place in places)
    first = sum(able[: len(able) // 2])
    assert abs(2 * first - resuming) <= 2


def test_workers_share_everything() -> None:
    """Each client and each publisher is in one of them, and channels are spread over all."""
    plan = Plan(url="ws://h/", clients=103, channels=4, workers=3, slow=9)
    shares = [plan.share(worker) for worker in range(3)]
    assert sorted(place for share in shares for place in share) == plan.places()
    assert all(place.channel == place.number % 4 for place in plan.places())
    assert all({place.channel for place in share} == {0, 1, 2, 3} for share in shares)
    assert sorted(channel for worker in range(3) for channel in plan.publishes(worker)) == [0, 1, 2, 3]


def test_what_clients_draw_lies_in_the_range() -> None:
    """Half of the logarithmic ones below the geometric mean."""
    chance, bound = Random(1), Range(10, 1000)
    even = [bound.even(chance) for _ in range(1000)]
    logarithmic = [bound.logarithmic(chance) for _ in range(1000)]
    assert all(10 <= value <= 1000 for value in (*even, *logarithmic))
    assert 400 < sum(value < 505 for value in even) < 600
    assert 400 < sum(value < 100 for value in logarithmic) < 600


def test_tokens_are_of_one_run_and_one_channel() -> None:
    """None twice, also where the counting wraps around."""
    plan = Plan(url="ws://h/", token="zzzzzzzz")
    tokens = {plan.channel_token(channel) for channel in range(1000)}
    assert len(tokens) == 1000
    assert {len(token) for token in tokens} == {8}
    assert new_token() != new_token()


def test_the_channel_in_the_url() -> None:
    """Stands where the user put it."""
    assert Plan(url="ws://h/ws?channel={channel}").channel_url(3).query == "channel=bench-3"
