from __future__ import annotations

from collections import Counter
from itertools import pairwise

from fanwise.tools.bench.load.plan import Plan, new_token
from fanwise.tools.load.behaviour import Behaviour


def test_odd_clients_are_spread() -> None:
    """As many as asked for, and not one beside the other."""
    kinds = Plan(url="ws://h/", clients=1000, slow=50, stalled=10, flapping=10).kinds()
    assert Counter(kinds) == {Behaviour.HEALTHY: 930, Behaviour.SLOW: 50, Behaviour.STALLED: 10, Behaviour.FLAPPING: 10}
    odd = [place for place, kind in enumerate(kinds) if kind is not Behaviour.HEALTHY]
    assert min(b - a for a, b in pairwise(odd)) > 10
    assert Counter(Plan(url="ws://h/", clients=7, stalled=6).kinds())[Behaviour.STALLED] == 6


def test_workers_share_everything() -> None:
    """Each client and each publisher is in one of them, and channels are spread over all."""
    plan = Plan(url="ws://h/", clients=103, channels=4, workers=3, slow=9)
    shares = [plan.share(worker) for worker in range(3)]
    assert Counter(client for share in shares for client in share) == Counter(
        (number % 4, kind) for number, kind in enumerate(plan.kinds())
    )
    assert all({channel for channel, _ in share} == {0, 1, 2, 3} for share in shares)
    assert sorted(channel for worker in range(3) for channel in plan.publishes(worker)) == [0, 1, 2, 3]


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
