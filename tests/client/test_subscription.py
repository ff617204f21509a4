from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.client.codec import Arrival, Gap, Message
from fanwise.client.errors import SubscribeError
from fanwise.client.subscription import Told, Track
from fanwise.core.publication import Position


def arrival(offset: int) -> Arrival:
    return Arrival("a", offset, f"m{offset}", None)


def following(epoch: str = "e", offset: int = 0) -> Track:
    track = Track("a")
    track.begin(Position(epoch, offset))
    return track


def shape(items: list[Told]) -> list[object]:
    """Offsets for messages, (first, last, reason) for gaps."""
    return [item.offset if isinstance(item, Message) else (item.first, item.last, item.reason) for item in items]


def test_messages_in_order_pass() -> None:
    """And the position follows them."""
    track = following(offset=4)
    assert shape(track.arrive(arrival(5)) + track.arrive(arrival(6))) == [5, 6]
    assert track.received == Position("e", 6)


def test_nothing_comes_twice() -> None:
    """An offset of an epoch that was there, or one before it, is dropped and counted."""
    track = following(offset=4)
    track.arrive(arrival(5))
    assert track.arrive(arrival(5)) == track.arrive(arrival(4)) == []
    assert track.duplicates == 2
    assert track.received == Position("e", 5)


def test_a_gap_that_is_told_passes_once() -> None:
    """The messages after it go on without another."""
    track = following()
    gap = Gap("a", "e", 1, 7, "history")
    assert shape(track.skip(gap) + track.skip(gap) + track.arrive(arrival(8))) == [(1, 7, "history"), 8]


def test_only_the_news_of_a_gap_is_told() -> None:
    """What came in before is not missing."""
    track = following(offset=5)
    assert shape(track.skip(Gap("a", "e", 3, 9, "slow"))) == [(6, 9, "slow")]


def test_a_hole_that_nobody_told_of() -> None:
    """It is a gap of reason unknown, before a message and before a gap alike."""
    track = following()
    assert shape(track.arrive(arrival(3))) == [(1, 2, "unknown"), 3]
    assert shape(track.skip(Gap("a", "e", 6, 7, "slow"))) == [(4, 5, "unknown"), (6, 7, "slow")]


def test_another_log() -> None:
    """Its gap is told even if nothing of the new log is missing, because the rest of the old one is."""
    track = following(offset=5)
    track.begin(Position("f", 0))
    assert shape(track.skip(Gap("a", "f", 1, 0, "epoch")) + track.arrive(arrival(1))) == [(1, 0, "epoch"), 1]
    assert track.received == Position("f", 1)


def test_another_log_with_a_lost_beginning() -> None:
    """A gap that does not reach back to the first offset leaves a hole before it."""
    track = following(offset=5)
    track.begin(Position("f", 0))
    assert shape(track.skip(Gap("a", "f", 3, 4, "epoch"))) == [(1, 2, "unknown"), (3, 4, "epoch")]


def test_another_log_that_nobody_told_of() -> None:
    """The first message of it brings the gap."""
    track = following(offset=5)
    track.begin(Position("f", 0))
    assert shape(track.arrive(arrival(1)) + track.arrive(arrival(2))) == [(1, 0, "unknown"), 1, 2]


def test_a_connection_lost_before_the_gap_asks_again() -> None:
    """The old position is kept until the gap is here, so the next connection is told of it as well."""
    track = following(offset=5)
    track.begin(Position("f", 0))
    assert track.received == Position("e", 5)


def test_back_to_a_log_that_it_came_from() -> None:
    """Two servers with a log each: what came from one of them does not come again."""
    track = following("e", 5)
    track.begin(Position("f", 0))
    track.skip(Gap("a", "f", 1, 0, "epoch"))
    track.arrive(arrival(1))
    track.begin(Position("e", 0))
    assert shape(track.skip(Gap("a", "e", 1, 2, "epoch"))) == [(6, 5, "epoch")]
    assert shape([item for offset in (3, 4, 5, 6) for item in track.arrive(arrival(offset))]) == [6]


def test_logs_that_are_remembered_are_few() -> None:
    """A channel that gets a new log again and again costs nothing that grows."""
    track = following()
    for number in range(100):
        track.skip(Gap("a", f"e{number}", 1, 0, "epoch"))
    assert len(track._offsets) == 8


def test_a_position_in_the_future_is_the_programs_mistake() -> None:
    """It is a gap, as the server says, and nothing that is published from then on is taken for a duplicate."""
    track = Track("a", Position("e", 50))
    track.begin(Position("e", 0))
    assert shape(track.skip(Gap("a", "e", 1, 0, "epoch"))) == [(1, 0, "epoch")]
    assert shape([item for offset in (1, 2) for item in track.arrive(arrival(offset))]) == [1, 2]


def test_but_what_was_seen_was_seen() -> None:
    """A later answer that begins earlier brings nothing again."""
    track = following(offset=3)
    track.arrive(arrival(4))
    track.begin(Position("e", 1))
    assert shape([item for offset in (2, 3, 4, 5) for item in track.arrive(arrival(offset))]) == [5]


@pytest.mark.parametrize("since", [(5, "e"), ("e", -1), ("e", 1.5), ("e", 2**63)])
def test_a_since_that_is_no_position(since: tuple[object, object]) -> None:
    """The error says what it takes."""
    with pytest.raises(SubscribeError, match=r"takes Position\(epoch, offset\)"):
        Track("a", Position(*since))  # type: ignore[arg-type]


def test_handed_follows_the_program() -> None:
    """Not what has come in."""
    track = following(offset=3)
    items = track.arrive(arrival(4)) + track.skip(Gap("a", "e", 5, 9, "slow"))
    assert track.handed == Position("e", 3)
    track.hand(items[0])
    assert track.handed == Position("e", 4)
    track.hand(items[1])
    assert track.handed == Position("e", 9)


NEWS = st.one_of(
    st.integers(0, 12).map(arrival),
    st.tuples(st.sampled_from("ef"), st.integers(1, 10), st.integers(-1, 4), st.sampled_from(["slow", "epoch"])).map(
        lambda drawn: Gap("a", drawn[0], drawn[1], drawn[1] + drawn[2], drawn[3])
    ),
    st.tuples(st.sampled_from("ef"), st.integers(0, 12)).map(lambda drawn: Position(*drawn)),
)


@given(st.lists(NEWS, max_size=40))
def test_whatever_the_server_says_the_stream_tiles(news: list[Arrival | Gap | Position]) -> None:
    """Within each log offsets go up without hole or overlap, and logs change only with a gap."""
    track = following("e", 3)
    have = {"e": 3}
    current = "e"
    for item in news:
        if isinstance(item, Position):
            track.begin(item)
            continue
        for told in track.arrive(item) if isinstance(item, Arrival) else track.skip(item):
            if told.epoch != current:
                assert isinstance(told, Gap)
                current = told.epoch
            first, last = (told.offset, told.offset) if isinstance(told, Message) else (told.first, told.last)
            assert first == have.get(current, 0) + 1
            assert last >= first - 1
            have[current] = last
        assert track.received == Position(current, have.get(current, 0))


def test_what_the_server_skips_is_no_hole() -> None:
    """Told before what is in front of it, or right at its place: and the next connection asks for what is behind it."""
    track = Track("a", Position("e", 1))
    track.begin(Position("e", 1))
    for offset in (2, 5, 4, 1):
        track.pass_over(Position("e", offset))
    track.pass_over(Position("of another log", 3))
    assert track.received == Position("e", 2)
    assert [type(told) for told in track.arrive(arrival(3))] == [Message]
    assert track.received == Position("e", 5)
    assert [type(told) for told in track.arrive(arrival(7))] == [Gap, Message]
