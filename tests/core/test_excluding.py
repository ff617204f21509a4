from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.core.excluding import exclude, excluding
from fanwise.core.filtered import FilteredQueue
from fanwise.core.filters import as_filter
from fanwise.core.log import Log
from fanwise.core.publication import Kind
from fanwise.core.queue import Gap, Overflow, Queue, SharedCursor
from fanwise.core.selection import Selection


def make_log(messages: int, *, max_messages: int = 1000) -> Log:
    log = Log("a", epoch="e", max_messages=max_messages, max_bytes=1_000_000)
    for _ in range(messages):
        log.append(b"x", Kind.TEXT, 0.0)
    return log


def test_it_stands_where_the_other_stood() -> None:
    """And remembers what the other knew of its client."""
    queue = Queue(make_log(9), 4, 10, 100, Overflow.LATEST)
    queue.peak = 3
    new = excluding(queue)
    assert (new.cursor, new.maxsize, new.max_bytes, new.overflow) == (4, 10, 100, Overflow.LATEST)
    assert (new.joined, new.begun, new.peak) == (queue.joined, queue.begun, 3)
    queue.follow(SharedCursor(4))
    with pytest.raises(AssertionError, match="in a ready group"):
        excluding(queue)


def test_what_comes_next_is_passed_at_once() -> None:
    """And what comes behind that, so that a queue with nothing else to give is empty."""
    log = make_log(3)
    queue = excluding(Queue(log, 0, 100, 1000))
    exclude(queue, 2)
    exclude(queue, 3)
    assert (queue.cursor, list(queue.excluded)) == (0, [2, 3])
    assert [one.offset for one in queue.get_nowait(max_bytes=1).publications] == [1]
    assert (queue.cursor, list(queue.excluded), queue.empty()) == (3, [], True)
    log.append(b"x", Kind.TEXT, 0.0)
    exclude(queue, 4)
    assert (queue.cursor, list(queue.excluded)) == (4, [])


def test_what_the_log_has_let_go_is_forgotten() -> None:
    """A client that never reads holds no more offsets than the log has publications."""
    log = make_log(2, max_messages=5)
    queue = excluding(Queue(log, 0, 5, 1000))
    for _ in range(100):
        exclude(queue, log.append(b"x", Kind.TEXT, 0.0).offset)
    assert len(queue.excluded) <= 5


@given(
    own=st.lists(st.booleans(), max_size=40),
    reads=st.lists(st.integers(0, 39), max_size=10),
    overflow=st.sampled_from(Overflow),
    size=st.integers(1, 5),
)
def test_others_and_gaps_tile_the_log_without_the_own(
    own: list[bool], reads: list[int], overflow: Overflow, size: int
) -> None:
    """Whatever is excluded, and whenever the client reads: offsets of others come once, in order, or are in a gap.

    A gap may have an own one that the log has let go of.
    """
    log = make_log(0, max_messages=12)
    queue = excluding(Queue(log, 0, 8, 1000, overflow))
    told: list[int] = []
    given_own: list[int] = []

    def read() -> None:
        publications, gaps = queue.get_nowait(max_bytes=size)
        parts: list[int] = [one.offset for one in publications]
        given_own.extend(offset for offset in parts if own[offset - 1])
        for gap in gaps:
            parts += range(gap.first, gap.last + 1)
        told.extend(sorted(parts))

    for place, is_own in enumerate(own):
        offset = log.append(b"x", Kind.TEXT, 0.0).offset
        if is_own:
            exclude(queue, offset)
        if place in reads and not queue.empty():
            read()
    while not queue.empty():
        read()
    assert given_own == []
    assert [one for one in told if not own[one - 1]] == [one for one, is_own in enumerate(own, 1) if not is_own]


@given(
    sent=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40),
    reads=st.lists(st.integers(0, 39), max_size=10),
    overflow=st.sampled_from(Overflow),
    size=st.integers(1, 5),
)
def test_with_a_filter_the_wanted_ones_of_others_come(
    sent: list[tuple[bool, bool]], reads: list[int], overflow: Overflow, size: int
) -> None:
    """Each wanted publication of somebody else comes once and in order, or is within a gap; no own one comes."""
    log = make_log(0, max_messages=12)
    wanted = as_filter({"s": "a"})
    assert wanted is not None
    selection = Selection(wanted, log)
    queue = excluding(FilteredQueue(selection, 0, 8, 1000, overflow))
    told: list[int] = []
    missing: set[int] = set()

    def read() -> None:
        publications, gaps = queue.get_nowait(max_bytes=size)
        told.extend(one.offset for one in publications)
        missing.update(offset for gap in gaps for offset in range(gap.first, gap.last + 1))

    for place, (is_own, is_wanted) in enumerate(sent):
        offset = log.append(b"x", Kind.TEXT, 0.0, None, {"s": "a"} if is_wanted else None).offset
        selection.follow()
        if is_own:
            exclude(queue, offset)
        if place in reads and not queue.empty():
            read()
    while not queue.empty():
        read()
    others = [at for at, (is_own, is_wanted) in enumerate(sent, 1) if is_wanted and not is_own]
    assert told == [at for at in others if at in told]
    assert set(others) <= {*told, *missing}
    assert told == sorted(set(told))


def test_a_gap_is_cut_around_what_is_excluded() -> None:
    log = make_log(20, max_messages=1)
    queue = excluding(Queue(make_log(0), 0, 100, 1000))
    queue.log = log
    queue.excluded.extend([3, 19])
    batch = queue.get_nowait(max_bytes=1)
    assert batch == ([], [Gap(1, 2), Gap(4, 18)])
