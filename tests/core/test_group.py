from __future__ import annotations

from fanwise.core.encoding import plain_frame
from fanwise.core.group import Cohort, ReadyGroup
from fanwise.core.lease import Lease
from fanwise.core.log import Log
from fanwise.core.queue import Queue

from ..support.fakes import FakeMember
from .test_log import append, make_log
from .test_queue import make_queue


def make_group(log: Log, *, cohort_clients: int = 2) -> ReadyGroup:
    return ReadyGroup(log, plain_frame, cohort_clients=cohort_clients)


def join(group: ReadyGroup, log: Log, *fds: int | None) -> list[Queue]:
    queues = [make_queue(log, cursor=log.head) for _ in fds]
    for queue, fd in zip(queues, fds, strict=True):
        group.join(queue, FakeMember(), lease=Lease(fd))
    return queues


def sizes(group: ReadyGroup) -> list[int]:
    return [len(cohort) for cohort in group]


def test_members_fill_cohorts() -> None:
    """Members with the same cursor share a cohort until it is full, with and without a descriptor."""
    log = make_log()
    group = make_group(log)
    join(group, log, 10, None, 11)
    assert sizes(group) == [2, 1]
    assert len(group) == 3


def test_who_joins_later_has_a_cohort_of_its_own() -> None:
    """A client that came after a publication is not given it with the others."""
    log = make_log()
    group = make_group(log)
    join(group, log, 10)
    append(log, b"a")
    join(group, log, 11)
    assert [cohort.cursor for cohort in group] == [0, 1]


def test_who_leaves_stands_where_its_cohort_stands() -> None:
    """The cohort's cursor becomes the client's, and the descriptor is forgotten."""
    log = make_log()
    group = make_group(log)
    one, two = join(group, log, 10, None)
    append(log, b"a", b"b")
    (cohort,) = group
    cohort.cursor = 2
    group.leave(one, lease=Lease(10))
    group.leave(two, lease=Lease(None))
    group.leave(one, lease=Lease(10))
    assert (one.cursor, two.cursor, len(group), list(cohort.by_fd)) == (2, 2, 0, [])


def test_a_slice_is_made_once_for_all_cohorts_at_a_cursor() -> None:
    """The same bytes object serves everybody who needs the same publications."""
    log = make_log()
    group = make_group(log)
    append(log, b"aa", b"bb", b"cc")
    first = group.slice_after(0, until=3, max_bytes=4)
    assert group.slice_after(0, until=3, max_bytes=4) is first
    assert (first.before, first.after, first.data) == (0, 2, b"\x81\x02aa\x81\x02bb")
    assert group.slice_after(0, until=1, max_bytes=4).after == 1
    assert group.slice_after(2, until=3, max_bytes=4).data == b"\x81\x02cc"


def test_a_slice_that_was_taken_in_part_is_cut_at_a_frame() -> None:
    """What the transport has to take is the rest of the frame that was begun; the others stay in the log."""
    log = make_log()
    group = make_group(log)
    append(log, b"aa", b"bb", b"cc")
    part = group.slice_after(0, until=3, max_bytes=99)
    cuts = {taken: group.cut(part, taken) for taken in range(len(part.data) + 1)}
    assert {taken: (cursor, bytes(rest)) for taken, (cursor, rest, _) in cuts.items()} == {
        0: (0, b""),
        1: (1, b"\x02aa"),
        2: (1, b"aa"),
        3: (1, b"a"),
        4: (1, b""),
        5: (2, b"\x02bb"),
        6: (2, b"bb"),
        7: (2, b"b"),
        8: (2, b""),
        9: (3, b"\x02cc"),
        10: (3, b"cc"),
        11: (3, b"c"),
        12: (3, b""),
    }
    assert [cuts[taken].missing for taken in (0, 1, 4, 5, 12)] == [3, 2, 2, 1, 0]


def test_small_cohorts_are_merged() -> None:
    """However clients come and go, there are at most about twice as many cohorts as needed; queues move with them."""
    log = make_log()
    group = make_group(log, cohort_clients=4)
    queues = []
    for fd in range(16):
        append(log, b"x")
        queues += join(group, log, fd)
    assert len(sizes(group)) == 16
    for cohort in group:
        cohort.cursor = log.head
    group.tidy()
    assert sizes(group) == [4, 4, 4, 4]
    assert all(isinstance(queue.shared, Cohort) and queue.cursor == 16 for queue in queues)
    for fd, queue in enumerate(queues):
        group.leave(queue, lease=Lease(fd))
    group.tidy()
    assert sizes(group) == []


def test_cohorts_at_different_cursors_are_not_merged() -> None:
    """Merging must not give anybody a publication twice, or not at all."""
    log = make_log()
    group = make_group(log, cohort_clients=100)
    for fd in range(8):
        append(log, b"x")
        join(group, log, fd)
    group.tidy()
    assert sizes(group) == [1] * 8


def test_a_merged_cohort_serves_members_without_a_descriptor_too() -> None:
    """They follow the cursor of the cohort that took them in."""
    log = make_log()
    group = make_group(log, cohort_clients=4)
    for _ in range(4):
        cohort = Cohort(log.head)
        (queue,) = join(make_group(log), log, None)
        queue.unfollow()
        queue.follow(cohort)
        cohort.by_queue[queue] = FakeMember()
        group._cohorts.append(cohort)
        group._members += 1
    group.tidy()
    assert sizes(group) == [4]
    (kept,) = group
    assert all(queue.shared is kept for queue in kept.by_queue)


def test_few_cohorts_stay_as_they_are() -> None:
    """Merging costs more than it saves while there are about as many as it takes."""
    log = make_log()
    group = make_group(log, cohort_clients=2)
    join(group, log, 10, 11, 12)
    before = list(group)
    group.tidy()
    assert list(group) == before


def test_a_wave_is_the_cohorts_behind_one_another_at_one_cursor() -> None:
    """As many as are wanted at most; a cohort without descriptors stays alone."""
    log = make_log()
    group = make_group(log)
    join(group, log, 10, 11, 12, 13, 14, 15, None)
    append(log, b"a")
    join(group, log, 16, 17)
    one, two, three, bare, late = group
    assert group.wave(one, at_most=6) == [one, two, three]
    assert group.wave(one, at_most=5) == [one, two]
    assert group.wave(two, at_most=0) == [two]
    assert group.wave(three, at_most=6) == [three]
    assert group.wave(bare, at_most=6) == [bare]
    assert group.wave(late, at_most=6) == [late]
