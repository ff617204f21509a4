"""`tuning.replay`: the real hub on a virtual clock."""

from __future__ import annotations

import pytest

from fanwise.core.forgiven import Bounds, forgiven, wire_size
from fanwise.core.reasons import CloseReason
from fanwise.tuning.outcome import Candidate, Outcome
from fanwise.tuning.replay import Payloads, Replay
from fanwise.tuning.scene import FAST_BYTES, Reader, Scene, Sent, Supply

ROOM = 10_000.0


def scene(
    pause: float, *, rate: int = 100, size: int = 1000, away: float | None = None, seconds: float = 20.0
) -> Scene:
    """One client that pauses from second 2 on, beside nine that follow."""
    pieces = [(0.0, FAST_BYTES), (2.0, 0.0), (2.0 + pause, FAST_BYTES)]
    reader = Reader(
        name="pausing",
        channels=("lobby",),
        supply=Supply(pieces),
        room_bytes=ROOM,
        away_seconds=None if away is None else (away, away),
    )
    publications = [Sent(number / rate, "lobby", size) for number in range(int(seconds * rate))]
    return Scene(publications=publications, readers=[reader], fast_clients=9, ends=seconds)


def play(a_scene: Scene, **settings: object) -> Outcome:
    return Replay(a_scene, Candidate(**settings)).run()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rate", "size", "messages", "size_bytes", "stall"),
    [(100, 1000, 50, 1 << 20, 10.0), (100, 1000, 1000, 80_000, 10.0), (50, 200, 1000, 1 << 20, 3.0)],
)
def test_a_replay_obeys_the_rule_of_pauses(rate: int, size: int, messages: int, size_bytes: int, stall: float) -> None:
    """Whichever bound decides: a pause that is forgiven drops nobody, and one that is half a second longer does."""
    settings = {"queue_messages": messages, "queue_bytes": size_bytes, "stall_seconds": stall}
    rule = forgiven(
        Bounds(messages, size_bytes, stall_seconds=stall),
        messages_per_second=rate,
        message_bytes=size,
        wire_bytes=wire_size(size),
        room_bytes=ROOM,
    )
    assert play(scene(rule.seconds - 0.05, rate=rate, size=size), **settings).dropped == 0
    late = play(scene(rule.seconds + 0.6, rate=rate, size=size), **settings)
    assert late.dropped == 1
    assert 2.0 + rule.seconds < late.drops[0].time < 2.0 + rule.seconds + 0.6


def test_a_client_that_comes_back_resumes_where_it_was() -> None:
    """It notices the close when it reads again; the log still has all that it missed."""
    outcome = play(scene(3.0, away=0.5), queue_messages=50)
    assert [drop.reason for drop in outcome.drops] == [CloseReason.SLOW]
    assert (outcome.returns, outcome.recovered, outcome.lost) == (1, 1, 0)
    assert len(outcome.ages) == pytest.approx(2000, abs=3)


def test_a_short_log_misses_what_came_meanwhile() -> None:
    """300 publications while it was away, and a log of 100."""
    outcome = play(scene(3.0, away=0.5), queue_messages=50, history_messages=100)
    assert (outcome.returns, outcome.recovered) == (1, 0)
    assert 150 < outcome.missed < 300


def test_a_policy_that_skips_drops_nobody_and_counts() -> None:
    """A pause of 3 s at 100/s: what the kernel and the queue have places for is not skipped."""
    outcome = play(scene(3.0), queue_messages=50, overflow="drop_oldest")
    assert outcome.dropped == 0
    assert outcome.skipped == pytest.approx(300 - 50 - ROOM / 1004, abs=3)
    assert play(scene(3.0), queue_messages=50, overflow="latest").skipped > outcome.skipped


def test_a_reader_that_never_reads_again_is_stalled_and_stays_away() -> None:
    outcome = play(scene(60.0, away=0.5), stall_seconds=2.0)
    assert outcome.reasons == {"stalled": 1}
    assert outcome.returns == 0


def test_memory_and_lag_are_seen_at_their_worst() -> None:
    """History of a thousand publications, each with its encoded bytes and its objects."""
    outcome = play(scene(3.0, seconds=15.0), queue_messages=1000)
    assert outcome.widest_lag == pytest.approx(300 - ROOM / 1004, abs=27)  # a quarter of a second between two looks
    assert outcome.log_bytes == pytest.approx(1000 * (1000 + 1004 + 640), rel=0.1)
    assert outcome.memory_bytes >= outcome.log_bytes


def test_a_replay_repeats() -> None:
    one, other = (play(scene(3.0, away=0.5), queue_messages=50) for _ in range(2))
    assert one.drops == other.drops
    assert one.ages == other.ages


def test_a_reader_leaves_when_it_likes() -> None:
    """Nobody is dropped who has gone."""
    a_scene = scene(10.0)
    reader = a_scene.readers[0]
    gone = Reader(name="gone", channels=reader.channels, supply=reader.supply, room_bytes=ROOM, ends=2.1)
    outcome = play(
        Scene(publications=a_scene.publications, readers=[gone], fast_clients=9, ends=20.0), queue_messages=50
    )
    assert (outcome.dropped, outcome.returns) == (0, 0)


def test_payloads_of_many_sizes_take_bounded_memory() -> None:
    payloads = Payloads(most_bytes=1_000)
    found = [payloads.of(size) for size in (300, 400, 300, 400, 500, 2_000, 100)]
    assert list(map(len, found)) == [300, 400, 300, 400, 500, 2_000, 100]
    assert found[0] is found[2]
    assert payloads.size_bytes == 100
