"""`tuning.traced`, `visits` and `estimate`: a trace becomes a scene that behaves as the one that was recorded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from fanwise.core import trace
from fanwise.tuning.outcome import Candidate, Outcome
from fanwise.tuning.plan import Plan, make_scene
from fanwise.tuning.replay import Replay
from fanwise.tuning.traced import Traced, away_seconds, people, read_scene

from ..support.recorded import RecordedReplay

WIDE: dict[str, Any] = {"queue_bytes": 1 << 30, "history_messages": 2000, "history_bytes": 1 << 26}
PLAN = Plan(
    rate=20,
    burst=120,
    size=1000,
    clients=20,
    pausing=9,
    pause_seconds=(0.2, 2.5),
    between_seconds=2.0,
    slow=3,
    bandwidth=(20e3, 60e3),
    seconds=10.0,
    room_bytes=48_000.0,
)


@cache
def recorded(width: int, seed: int = 1) -> tuple[Plan, Traced]:
    """The trace of a plan, as a server with such a queue would have recorded it."""
    plan = replace(PLAN, seed=seed)
    replay = RecordedReplay(make_scene(plan), Candidate(queue_messages=width, **WIDE))
    replay.run()
    return plan, read_scene(replay.header, replay.records)


def both(width: int, overflow: str) -> tuple[Outcome, Outcome]:
    """What happens with narrower queues, and what the trace of a wide one says about that."""
    plan, traced = recorded(100_000)
    candidate = Candidate(queue_messages=width, overflow=overflow, **WIDE)
    return Replay(make_scene(plan), candidate).run(), Replay(traced.scene, candidate).run()


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("overflow", ["disconnect", "drop_oldest", "latest"])
def test_a_trace_predicts_what_narrower_queues_do(width: int, overflow: str) -> None:
    """Drops, losses and ages, within a tenth or one drop."""
    seen, said = both(width, overflow)
    assert said.dropped == pytest.approx(seen.dropped, rel=0.1, abs=1)
    assert said.lost == pytest.approx(seen.lost, rel=0.1, abs=20)
    assert said.age(0.99) == pytest.approx(seen.age(0.99), rel=0.15)
    assert seen.dropped + seen.lost > 5  # or nothing was predicted


def test_a_trace_shows_pauses_and_bandwidths() -> None:
    """Bandwidths that are never caught up with show exactly; of the pauses only those that the kernels do not hide."""
    plan, traced = recorded(100_000)
    slow = [reader.supply for reader in make_scene(plan).readers if reader.name.startswith("slow")]
    true = sorted(supply.total(2.0) - supply.total(1.0) for supply in slow)
    assert sorted(traced.bandwidths) == pytest.approx(true, rel=0.1)
    assert max(traced.pauses) <= plan.pause_seconds[1] + 0.3
    assert traced.room_seen
    assert traced.room_bytes == pytest.approx(48_000, rel=0.05)


def test_clients_that_came_back_are_one_person() -> None:
    """Under a narrow queue a trace has more connections than people; who returned is not counted twice."""
    plan, traced = recorded(32)
    assert len(traced.scene.readers) <= plan.pausing + plan.slow
    assert any(len(chain) > 1 for chain in people(traced.book))
    low, high = traced.scene.readers[0].away_seconds or (0.0, 0.0)
    assert 0.5 <= low <= high


def test_a_pause_that_ends_unseen_is_counted() -> None:
    """The trace ends while a client pauses: its pause is censored, and goes on to the end."""
    replay = RecordedReplay(
        make_scene(
            Plan(rate=150, size=1000, clients=3, pausing=1, pause_seconds=(60, 61), between_seconds=1.0, seconds=8.0)
        ),
        Candidate(queue_messages=100_000, stall_seconds=100.0, **WIDE),
    )
    replay.run()
    traced = read_scene(replay.header, replay.records)
    assert (traced.censored, len(traced.pauses)) == (1, 0)
    assert Replay(traced.scene, Candidate(queue_messages=64, **WIDE)).run().dropped == 1


def test_bursts_show_what_the_kernels_take() -> None:
    """Bursts that meet clients that do not read: the room comes out, not what is assumed without any."""
    plan = Plan(
        rate=0, burst=300, size=1000, clients=9, pausing=6, pause_seconds=(1.0, 3.0), between_seconds=2.0,
        seconds=12.0, room_bytes=90_000.0,
    )  # fmt: skip
    replay = RecordedReplay(make_scene(plan), Candidate(queue_messages=100_000, **WIDE))
    replay.run()
    assert read_scene(replay.header, replay.records).room_bytes == pytest.approx(90_000, rel=0.05)


def test_a_trace_without_clients_that_are_behind_is_a_scene_too() -> None:
    header = trace.Header("0", 0.0, {})
    records: list[trace.Record] = [
        trace.ChannelSeen(0.0, 1, "c", 0, 4),
        trace.Published(0.5, 1, 10, 0),
        trace.Ended(1.0, "asked"),
    ]
    traced = read_scene(header, records)
    assert (traced.scene.clients, traced.scene.readers, traced.book.whole) == (4, [], True)
    assert away_seconds([]) is not None
    assert Replay(traced.scene, Candidate()).run().dropped == 0
