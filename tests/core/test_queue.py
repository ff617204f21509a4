from __future__ import annotations

import pytest

from fanwise.core.log import Log
from fanwise.core.publication import Kind
from fanwise.core.queue import Batch, Gap, Overflow, Queue, SharedCursor

from .test_log import append, make_log


def make_queue(
    log: Log,
    *,
    cursor: int = 0,
    max_messages: int = 3,
    max_bytes: int = 100,
    overflow: Overflow = Overflow.DISCONNECT,
) -> Queue:
    return Queue(log, cursor=cursor, max_messages=max_messages, max_bytes=max_bytes, overflow=overflow)


def take(queue: Queue, *, max_bytes: int = 99) -> list[bytes]:
    batch = queue.get_nowait(max_bytes=max_bytes)
    assert batch.gaps == []
    return [publication.payload for publication in batch.publications]


def test_it_reads_like_a_bounded_queue() -> None:
    """Publishing fills it without touching it, getting empties it."""
    log = make_log()
    queue = make_queue(log)
    assert queue.empty()
    append(log, b"a", b"bb")
    assert (queue.qsize(), queue.qsize_bytes(), queue.maxsize, queue.full()) == (2, 3, 3, False)
    assert take(queue, max_bytes=1) == [b"a"]
    assert queue.qsize() == 1
    assert take(queue) == [b"bb"]
    assert queue.empty()
    assert take(queue) == []


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


def test_what_the_log_dropped_is_a_gap() -> None:
    """It names the offsets that the client did not get, exactly, and comes alone: a client of this policy has to go."""
    log = make_log(max_messages=2)
    queue = make_queue(log)
    append(log, b"1", b"2")
    assert not queue.overflowed()
    append(log, b"3", b"4")
    assert queue.overflowed()
    assert queue.get_nowait(max_bytes=99) == Batch([], [Gap(1, 2)])


def test_disconnect_goes_on_while_the_log_has_everything() -> None:
    """Being over the bounds is judged by time, elsewhere: the queue itself loses nothing."""
    log = make_log()
    queue = make_queue(log, max_messages=1)
    append(log, b"1", b"2", b"3")
    assert take(queue) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("max_messages", "max_bytes", "skipped"), [(3, 99, 2), (1, 99, 4), (9, 4, 3), (9, 1, 4), (5, 99, 0)]
)
def test_drop_oldest_keeps_the_newest_that_fit(max_messages: int, max_bytes: int, skipped: int) -> None:
    """In messages and in bytes; the rest is one gap, announced once, and the newest always comes."""
    log = make_log()
    queue = make_queue(log, max_messages=max_messages, max_bytes=max_bytes, overflow=Overflow.DROP_OLDEST)
    append(log, b"aa", b"bb", b"cc", b"dd", b"ee")
    batch = queue.get_nowait(max_bytes=99)
    assert batch.gaps == ([Gap(1, skipped)] if skipped else [])
    assert [publication.offset for publication in batch.publications] == list(range(skipped + 1, 6))
    assert queue.get_nowait(max_bytes=99) == Batch([], [])


def aged(*, overflow: Overflow, cursor: int = 0) -> Queue:
    """A queue that is wide enough, on a log with the publications 1 to 5, one per second, of which 3 are too old."""
    log = make_log()
    if not cursor:
        queue = make_queue(log, max_messages=9, overflow=overflow)
    for second in range(1, 6):
        log.append(b"%d" % second, kind=Kind.TEXT, time=float(second), key="ab"[second % 2])
    if cursor:
        queue = make_queue(log, cursor=cursor, max_messages=9, overflow=overflow)
    log.age(3.5)
    return queue


def test_the_bound_in_age() -> None:
    """It has overflowed while the oldest publication after the cursor is too old; `disconnect` still gives all."""
    queue = aged(overflow=Overflow.DISCONNECT)
    assert queue.overflowed()
    assert take(queue, max_bytes=2) == [b"1", b"2"]
    assert queue.overflowed()
    assert take(queue, max_bytes=1) == [b"3"]
    assert not queue.overflowed()


def test_drop_oldest_skips_what_is_too_old() -> None:
    """And never the newest, however old that is."""
    queue = aged(overflow=Overflow.DROP_OLDEST)
    batch = queue.get_nowait(max_bytes=99)
    assert ([publication.payload for publication in batch.publications], batch.gaps) == ([b"4", b"5"], [Gap(1, 3)])
    queue = aged(overflow=Overflow.DROP_OLDEST)
    queue.log.age(1000.0)
    batch = queue.get_nowait(max_bytes=99)
    assert ([publication.payload for publication in batch.publications], batch.gaps) == ([b"5"], [Gap(1, 4)])


def test_latest_keeps_old_state() -> None:
    """Age makes it skip; what it keeps is the newest of each key, as after any overflow."""
    queue = aged(overflow=Overflow.LATEST)
    queue.log.age(1000.0)
    batch = queue.get_nowait(max_bytes=99)
    assert ([publication.payload for publication in batch.publications], batch.gaps) == ([b"4", b"5"], [Gap(1, 3)])


@pytest.mark.parametrize("overflow", Overflow)
def test_what_was_asked_for_is_not_too_old(overflow: Overflow) -> None:
    """A client that resumes gets what it missed; what comes after it counts from its own time on."""
    queue = aged(overflow=overflow, cursor=1)
    assert not queue.overflowed()
    assert take(queue, max_bytes=1) == [b"2"]
    queue.log.append(b"6", kind=Kind.TEXT, time=6.0)
    queue.log.age(6.5)
    assert not queue.overflowed()
    assert take(queue) == [b"3", b"4", b"5", b"6"]
    queue.log.append(b"7", kind=Kind.TEXT, time=7.0)
    queue.log.age(7.5)
    assert queue.overflowed()


def test_latest_keeps_the_newest_alone() -> None:
    """Of publications without a key."""
    log = make_log()
    queue = make_queue(log, overflow=Overflow.LATEST)
    append(log, b"1", b"2", b"3")
    assert take(queue) == [b"1", b"2", b"3"], "within its bounds it skips nothing"
    append(log, b"4", b"5", b"6", b"7")
    batch = queue.get_nowait(max_bytes=99)
    assert ([publication.payload for publication in batch.publications], batch.gaps) == ([b"7"], [Gap(4, 6)])


def test_latest_keeps_the_newest_of_each_key() -> None:
    """In order, with a gap for each range that is skipped."""
    log = make_log()
    queue = make_queue(log, overflow=Overflow.LATEST)
    for key in "aababcb":
        log.append(key.encode(), kind=Kind.TEXT, time=0.0, key=key)
    batch = queue.get_nowait(max_bytes=99)
    assert [publication.offset for publication in batch.publications] == [4, 6, 7]
    assert batch.gaps == [Gap(1, 3), Gap(5, 5)]
    assert queue.empty()


def test_latest_of_many_keys_comes_in_slices() -> None:
    """No batch is much larger than asked for, and what is left follows."""
    log = make_log()
    queue = make_queue(log, overflow=Overflow.LATEST)
    for key in "abcde":
        log.append(b"xx", kind=Kind.TEXT, time=0.0, key=key)
    sizes = []
    while not queue.empty():
        sizes.append(len(queue.get_nowait(max_bytes=4).publications))
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.LATEST])
def test_what_the_log_dropped_is_part_of_the_gap(overflow: Overflow) -> None:
    """Whether the policy or the log has skipped it."""
    log = make_log(max_messages=2)
    queue = make_queue(log, max_messages=1, overflow=overflow)
    append(log, b"1", b"2", b"3", b"4")
    batch = queue.get_nowait(max_bytes=99)
    assert ([publication.offset for publication in batch.publications], batch.gaps) == ([4], [Gap(1, 3)])


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
    assert take(queue) == [b"b"]
    with pytest.raises(AssertionError):
        queue.rewind(3)
