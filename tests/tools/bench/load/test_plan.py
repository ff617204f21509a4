from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fanwise.tools.bench.load.payload import MIN_BYTES
from fanwise.tools.bench.load.plan import RESUMABLE, Plan, new_token
from fanwise.tools.bench.load.recording import Message, Range, RecordedReader, Recording
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


def test_a_recording_has_its_own_clients() -> None:
    """Its readers are spread among the healthy clients, each on its own channel."""
    readers = tuple(RecordedReader(number % 2, (), away_seconds=Range(1, 2) if number else None) for number in range(4))
    messages = ((Message(0.5, 100, "a"), Message(1.0, 7)), ())
    recording = Recording(channels=messages, readers=readers, healthy=8, seconds=2.0)
    plan = Plan(url="ws://h/", clients=12, channels=2, recording=recording)
    found = [place for place in plan.places() if place.kind is Behaviour.REPLAYED]
    assert [(place.recorded, place.channel) for place in found] == [(reader, reader.channel) for reader in readers]
    assert [place.resumes for place in found] == [False, True, True, True]
    assert not plan.saturates
    first = plan.measured_from
    assert [len(plan.payloads(0).build(first + number, 1)) for number in range(3)] == [100, MIN_BYTES, 128]
    assert [plan.key_of(0, first + number) for number in range(3)] == ["a", None, None]


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
