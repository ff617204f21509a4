from __future__ import annotations

import pytest

from fanwise.core.encoding import plain_frame
from fanwise.core.group import ReadyGroup
from fanwise.core.lease import Lease

from ..support.fakes import FakeMember
from .test_log import make_log
from .test_queue import make_queue


def test_a_lease_that_has_ended_cannot_be_in_a_ready_group() -> None:
    """Whoever joins with it is refused: the number may be somebody else's by now."""
    log = make_log()
    group, lease = ReadyGroup(log, plain_frame, cohort_clients=2), Lease(7)
    lease.end()
    with pytest.raises(AssertionError, match="descriptor 7 may be another connection's"):
        group.join(make_queue(log), FakeMember(lease), lease=lease)
    assert len(group) == 0


def test_its_holder_leaves_the_ready_groups_before_it_has_ended() -> None:
    """In the same call, once, and with the number still known to the group."""
    log = make_log()
    group, queue = ReadyGroup(log, plain_frame, cohort_clients=2), make_queue(log)
    calls: list[int] = []

    def leave() -> None:
        calls.append(len(group))
        group.leave(queue, lease=lease)

    lease = Lease(7, on_end=leave)
    group.join(queue, FakeMember(lease), lease=lease)
    assert lease.holders == 1
    lease.end()
    lease.end()
    assert (calls, len(group), lease.holders, lease.ended) == ([1], 0, 0, True)


def test_a_holder_that_stays_is_a_bug_that_shows() -> None:
    """It does not go on in silence."""
    log = make_log()
    group, lease = ReadyGroup(log, plain_frame, cohort_clients=2), Lease(7)
    group.join(make_queue(log), FakeMember(lease), lease=lease)
    with pytest.raises(AssertionError, match="1 ready groups hold descriptor 7"):
        lease.end()
