"""Queues with a filter: what is handed out, what is a gap and what is not wanted tile the log."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fanwise.core.channel import Channel
from fanwise.core.encoding import plain_frame
from fanwise.core.excluding import excluding
from fanwise.core.filtered import FilteredGroup, FilteredQueue
from fanwise.core.filters import MAX_FILTERS, Filter, as_filter
from fanwise.core.hub import Hub
from fanwise.core.lease import Lease
from fanwise.core.publication import Kind, Last, Position
from fanwise.core.queue import Overflow, Queue
from fanwise.errors import FilterLimitError

from ..support.fakes import FakeMember


def hub(overflow: Overflow = Overflow.DISCONNECT, **bounds: int) -> Hub:
    defaults = {"queue_messages": 10, "queue_bytes": 10_000, "history_messages": 100, "history_bytes": 100_000}
    taken: dict[str, Any] = {**defaults, **bounds}
    return Hub(**taken, overflow=overflow, history_seconds=60, cohort_clients=10)


def wanting(**tags: str) -> Filter:
    found = as_filter(tags)
    assert found is not None
    return found


def publish(hub: Hub, channel: Channel, *symbols: str, key: str | None = None) -> None:
    for symbol in symbols:
        tags = {"s": symbol} if symbol else None
        hub.publish(channel, symbol.encode(), Kind.TEXT, 0.0, key, tags)


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("seed", range(5))
def test_a_queue_with_a_filter_tiles_the_log(seed: int, overflow: Overflow) -> None:
    """Each wanted publication is handed out once and in order, or is in a gap; no gap names only what is unwanted."""
    rng = random.Random(seed)
    where = hub(overflow)
    channel = where.channel("c", 0.0)
    wanted: list[int] = []
    queue = where.subscribe("c", filter=wanting(s="a"), time=0.0).queue
    given: list[int] = []
    gaps: set[int] = set()
    for _ in range(400):
        choice = rng.random()
        if choice < 0.6:
            symbol = rng.choice("aab")
            publish(where, channel, symbol, key=rng.choice("kl"))
            wanted += [channel.log.head] if symbol == "a" else []
            where.find("c")
            assert isinstance(queue, FilteredQueue)
            queue.selection.follow()
        elif choice < 0.63:
            channel.log.trim(max_messages=rng.randrange(1, 30), max_bytes=10**6)
        elif choice < 0.7:
            before = queue.cursor
            batch = queue.get_nowait(max_bytes=rng.randrange(1, 30))
            given += [one.offset for one in batch.publications]
            for gap in batch.gaps:
                missing = [offset for offset in wanted if gap.first <= offset <= gap.last]
                assert missing
                assert before < gap.first <= gap.last <= queue.cursor
                gaps.update(missing)
    while not queue.empty():
        batch = queue.get_nowait(max_bytes=100)
        given += [one.offset for one in batch.publications]
        gaps.update(offset for gap in batch.gaps for offset in wanted if gap.first <= offset <= gap.last)
    assert given == sorted(set(given))
    assert set(given).isdisjoint(gaps)
    assert sorted({*given, *gaps}) == wanted


def test_only_what_is_wanted_fills_a_queue() -> None:
    """A thousand others are no lag; eleven of its own are too many for ten places."""
    where = hub(queue_messages=10, history_messages=5000)
    channel = where.channel("c", 0.0)
    queue = where.subscribe("c", filter=wanting(s="a"), time=0.0).queue
    publish(where, channel, *["b", ""] * 1000)
    assert (queue.qsize(), queue.qsize_bytes(), queue.empty(), queue.overflowed()) == (0, 0, True, False)
    publish(where, channel, *"ab" * 10)
    assert (queue.qsize(), queue.full(), queue.overflowed()) == (10, True, False)
    publish(where, channel, "a")
    assert queue.overflowed()


def test_gaps_count_only_what_is_wanted() -> None:
    """With `drop_oldest` the oldest wanted ones go: their range is a gap, and the others in it count for nothing."""
    where = hub(Overflow.DROP_OLDEST, queue_messages=2)
    channel = where.channel("c", 0.0)
    queue = where.subscribe("c", filter=wanting(s="a"), time=0.0).queue
    publish(where, channel, *"babbabab")
    batch = queue.get_nowait(max_bytes=100)
    assert [one.offset for one in batch.publications] == [5, 7]
    assert [(gap.first, gap.last, gap.unwanted) for gap in batch.gaps] == [(2, 2, 0)]
    publish(where, channel, *"ababaa")
    batch = queue.get_nowait(max_bytes=100)
    channel.count_batch(queue, batch)
    assert [(gap.first, gap.last, gap.unwanted) for gap in batch.gaps] == [(9, 11, 1)]
    assert (channel.skipped, where.tally.dropped["gap_slow"]) == (2, 2)


def test_the_last_are_the_last_that_are_wanted() -> None:
    """Among the newest that are retained; without a filter they are the newest."""
    where = hub()
    channel = where.channel("c", 0.0)
    publish(where, channel, *"abababbb")

    def begins(count: int, **tags: str) -> tuple[int, bool | None, int]:
        start = where.subscribe("c", since=Last(count, 4096), filter=as_filter(tags), time=0.0)
        assert start.gap is None
        return start.position.offset, start.recovered, start.queue.qsize()

    assert begins(2) == (6, None, 2)
    assert begins(99) == (0, None, 8)
    assert begins(1, s="a") == (4, None, 1)
    assert begins(3, s="a") == (0, None, 3)
    assert begins(9, s="a") == (0, None, 3)
    assert begins(9, s="none")[2] == 0
    channel.log.trim(max_messages=5, max_bytes=10**6)
    assert begins(99) == (3, None, 5)
    assert begins(9, s="a") == (3, None, 1)


def test_a_position_belongs_to_no_filter() -> None:
    """A client may come back with another filter: it gets what that lets through after its position."""
    where = hub()
    channel = where.channel("c", 0.0)
    publish(where, channel, *"ababab")
    start = where.subscribe("c", since=Position(channel.log.epoch, 2), filter=wanting(s="b"), time=0.0)
    assert start.recovered
    assert [one.offset for one in start.queue.get_nowait(max_bytes=99).publications] == [4, 6]


def test_the_filters_of_a_channel_are_bounded() -> None:
    """Equal filters count once, and a filter goes with its last client."""
    where = hub()
    queues: list[Queue] = []
    for number in range(MAX_FILTERS):
        queues += [where.subscribe("c", filter=wanting(s=str(number)), time=0.0).queue for _ in range(2)]
    with pytest.raises(FilterLimitError, match="100 different filters"):
        where.subscribe("c", filter=wanting(s="new"), time=0.0)
    channel = where.find("c")
    assert channel is not None
    where.unsubscribe(channel, queues[0], time=0.0)
    with pytest.raises(FilterLimitError):
        where.subscribe("c", filter=wanting(s="new"), time=0.0)
    where.unsubscribe(channel, queues[1], time=0.0)
    queues.append(where.subscribe("c", filter=wanting(s="new"), time=0.0).queue)
    cost = channel.cost_bytes
    for queue in queues[2:]:
        where.unsubscribe(channel, queue, time=0.0)
    assert not channel.selections
    assert channel.cost_bytes < cost - 100 * 2_000


def test_clients_of_one_address_have_some_of_the_filters() -> None:
    """Equal ones count once, and those of other addresses are free; each goes with the address's last client."""
    where = hub(address_filters=3)
    mine = [where.subscribe("c", filter=wanting(s=str(at // 2)), time=0.0, owner="me").queue for at in range(6)]
    with pytest.raises(FilterLimitError, match=r"the clients of me on channel 'c' have 3 different filters already"):
        where.subscribe("c", filter=wanting(s="new"), time=0.0, owner="me")
    theirs = where.subscribe("c", filter=wanting(s="new"), time=0.0, owner="them").queue
    shared = where.subscribe("c", filter=wanting(s="new"), time=0.0, owner="me").queue
    for at in range(50):
        where.subscribe("c", filter=wanting(s=f"free {at}"), time=0.0)
    channel = where.find("c")
    assert channel is not None
    for queue in (mine[0], mine[1]):
        with pytest.raises(FilterLimitError):
            where.subscribe("c", filter=wanting(s="more"), time=0.0, owner="me")
        where.unsubscribe(channel, queue, time=0.0)
    with pytest.raises(FilterLimitError):
        where.subscribe("c", filter=wanting(s="more"), time=0.0, owner="me")
    where.unsubscribe(channel, shared, time=0.0)
    where.unsubscribe(channel, theirs, time=0.0)
    where.subscribe("c", filter=wanting(s="more"), time=0.0, owner="me")


def test_the_filter_of_a_client_that_moves_counts_where_it_did() -> None:
    """In a channel's successor, also as a queue that passes over publications."""
    where = hub(address_filters=1)
    channel = where.channel("c", 0.0)
    queue = where.subscribe("c", filter=wanting(s="a"), time=0.0, owner="me").queue
    where.replace(channel, queue, new := excluding(queue))
    successor = where.succeed(channel, epoch="next", start=0, time=0.0)
    moved = where.follow(channel, new, time=0.0).queue
    with pytest.raises(FilterLimitError):
        where.subscribe("c", filter=wanting(s="b"), time=0.0, owner="me")
    where.unsubscribe(successor, moved, time=0.0)
    where.subscribe("c", filter=wanting(s="b"), time=0.0, owner="me")


def test_a_filter_decides_once_for_all_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are in the ready group or behind, and however often they look."""
    asked: list[str] = []
    lets_through = Filter.lets_through

    def counted(self: Filter, tags: dict[str, str] | None) -> bool:
        asked.append(str(self))
        return lets_through(self, tags)

    monkeypatch.setattr(Filter, "lets_through", counted)
    where = hub()
    channel = where.channel("c", 0.0)
    starts = [where.subscribe("c", filter=wanting(s=symbol), time=0.0) for symbol in "aaaabb"]
    for start in starts[:2]:
        assert start.queue.selection is not None
        group = channel.group_of(start.queue.selection, plain_frame)
        group.join(start.queue, FakeMember(), lease=Lease(None))
    publish(where, channel, *"abc")
    for start in starts:
        assert start.queue.qsize() == 1
    selection = starts[0].queue.selection
    assert selection is not None
    group = channel.group_of(selection, plain_frame)
    assert isinstance(group, FilteredGroup)
    part = group.slice_after(0, until=3, max_bytes=99)
    assert (part.after, part.data, part.messages) == (3, b"\x81\x01a", 1)
    assert group.cut(part, 1)[::2] == (1, 0)
    assert sorted(asked) == ["s:a"] * 3 + ["s:b"] * 3


def test_a_slice_of_nothing_has_no_bytes() -> None:
    """Its cursor is where the sweep ends."""
    where = hub()
    channel = where.channel("c", 0.0)
    selection = where.subscribe("c", filter=wanting(s="a"), time=0.0).queue.selection
    assert selection is not None
    publish(where, channel, *"bbbabb")
    group = channel.group_of(selection, plain_frame)
    assert group.slice_after(0, until=3, max_bytes=99)[:3] == (0, 3, b"")
    assert group.slice_after(3, until=6, max_bytes=99)[:3] == (3, 6, b"\x81\x01a")
