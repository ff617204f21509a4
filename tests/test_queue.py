from __future__ import annotations

import pytest

from server.log import Log
from server.queue import Gap, Queue, SharedCursor

from .test_log import append, make_log


def make_queue(log: Log, *, cursor: int = 0, max_messages: int = 3, max_bytes: int = 100) -> Queue:
    return Queue(log, cursor=cursor, max_messages=max_messages, max_bytes=max_bytes)


def test_it_reads_like_a_bounded_queue() -> None:
    """Publishing fills it without touching it, getting empties it."""
    log = make_log()
    queue = make_queue(log)
    assert queue.empty()
    append(log, b"a", b"bb")
    assert (queue.qsize(), queue.qsize_bytes(), queue.maxsize, queue.full()) == (2, 3, 3, False)
    assert [publication.payload for publication in queue.get_nowait(max_bytes=1)] == [b"a"]
    assert queue.qsize() == 1
    assert [publication.payload for publication in queue.get_nowait(max_bytes=99)] == [b"bb"]
    assert queue.empty()
    assert queue.get_nowait(max_bytes=99) == []


@pytest.mark.parametrize(("payloads", "full", "overflowed"), [(2, False, False), (3, True, False), (4, True, True)])
def test_the_bound_in_messages(payloads: int, full: bool, overflowed: bool) -> None:
    """It is full at its bound and has overflowed beyond."""
    log = make_log()
    queue = make_queue(log)
    append(log, *[b"x"] * payloads)
    assert (queue.full(), queue.overflowed()) == (full, overflowed)


@pytest.mark.parametrize(("size", "full", "overflowed"), [(99, False, False), (100, True, False), (101, True, True)])
def test_the_bound_in_bytes(size: int, full: bool, overflowed: bool) -> None:
    """Whichever bound is hit first counts."""
    log = make_log()
    queue = make_queue(log)
    append(log, b"x" * size)
    assert (queue.full(), queue.overflowed()) == (full, overflowed)


def test_a_gap_is_what_the_log_dropped() -> None:
    """The gap names the offsets that the client did not get, exactly."""
    log = make_log(max_messages=2)
    queue = make_queue(log)
    append(log, b"1", b"2")
    assert queue.gap() is None
    append(log, b"3", b"4")
    assert queue.gap() == Gap(1, 2)


def test_a_shared_cursor_moves_all_that_follow_it() -> None:
    """Queues that follow one cursor stand where it stands, and keep its place when they stop."""
    log = make_log()
    shared = SharedCursor(0)
    one, two = make_queue(log), make_queue(log)
    one.follow(shared)
    two.follow(shared)
    append(log, b"a", b"b")
    shared.cursor = 2
    one.unfollow()
    shared.cursor = 1
    assert (one.cursor, two.cursor) == (2, 1)
    with pytest.raises(AssertionError):
        two.get_nowait(max_bytes=1)


def test_a_queue_cannot_jump() -> None:
    """Following a cursor that stands elsewhere would lose or repeat publications."""
    log = make_log()
    append(log, b"a")
    queue = make_queue(log, cursor=1)
    with pytest.raises(AssertionError):
        queue.follow(SharedCursor(0))


def test_rewind_goes_back_only() -> None:
    """What was not taken after all is read again; a queue cannot skip ahead by it."""
    log = make_log()
    append(log, b"a", b"b")
    queue = make_queue(log)
    queue.get_nowait(max_bytes=99)
    queue.rewind(1)
    assert [publication.payload for publication in queue.get_nowait(max_bytes=99)] == [b"b"]
    with pytest.raises(AssertionError):
        queue.rewind(3)
