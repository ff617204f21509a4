"""`tuning.estimate`: the path with the fewest changes of speed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.tuning.estimate import Estimator, Evidence, Look, Piece, Rooms, bandwidth_of, path
from fanwise.tuning.visits import Curve, Mark, Stretch, Visit


@given(st.floats(1e4, 1e6), st.integers(10, 60))
def test_a_steady_reader_has_one_speed(rate: float, looks: int) -> None:
    """What is accepted moves in steps of a third of the room; the path through the tube has the true speed."""
    room = 146_000.0
    step = room / 3
    seen = []
    for number in range(1, looks + 1):
        read = rate * number * 0.25
        accepted = read // step * step  # the kernel says that there is room at each third
        seen.append(Look(number * 0.25, accepted - 0.0, accepted + step))
    pieces = path((0.0, 0.0), seen, typical=1.2 * rate)
    total = sum(piece.rate * (piece.ends - piece.begins) for piece in pieces)
    assert total == pytest.approx(rate * looks * 0.25, abs=step)
    assert len(pieces) == 1 or rate * 0.25 * looks < step * 3


def test_a_reader_that_stands_still_has_none() -> None:
    looks = [Look(0.25 * number, 0.0, 50.0) for number in range(1, 9)]
    assert path((0.0, 0.0), looks) == [Piece(0.0, 2.0, 0.0)]


def test_a_change_of_speed_is_a_new_piece() -> None:
    """Two seconds of nothing, then 1,000 bytes in a quarter."""
    looks = [Look(0.25 * number, 0.0, 50.0) for number in range(1, 9)] + [Look(2.25, 1000.0, 1050.0)]
    still, fast = path((0.0, 0.0), looks)
    assert still == Piece(0.0, 2.0, 0.0)
    assert (fast.begins, fast.ends) == (2.0, 2.25)
    assert 1000 <= fast.rate * 0.25 <= 1050


@pytest.mark.parametrize(("steps", "bandwidth"), [(30, 400.0), (3, None)])
def test_steps_are_little_bandwidth_and_leaps_are_pauses(steps: int, bandwidth: float | None) -> None:
    """100 bytes each quarter: a kernel that takes 100 after 100 is slow; one that takes most at once has paused."""
    curve = Curve((0.25 * number, 100.0) for number in range(400))
    taken = [100.0 * (number // 2 * 2) for number in range(steps)] if bandwidth else [100.0] * steps + [3_000.0] * 3
    marks = [Mark(0.25 * number, accepted, True) for number, accepted in enumerate(taken)]
    visit = Visit(number=1, before=0, dialect="json", begins=0.0, here=False, stretches=[Stretch(0.0, marks, None)])
    found = bandwidth_of([visit], curve, Rooms(300.0, 300.0, 300.0))
    assert found == (bandwidth if bandwidth is None else pytest.approx(bandwidth, rel=0.1))


def test_pieces_do_not_overlap_and_leave_the_typical_rate_between() -> None:
    evidence = Evidence(bandwidth=500.0)
    evidence.add(1.0, 2.0, 0.0)
    evidence.add(1.5, 3.0, 10.0)
    supply = evidence.supply()
    assert [supply.total(at) for at in (1.0, 2.0, 3.0, 4.0)] == [500.0, 500.0, 510.0, 1010.0]


@pytest.mark.parametrize(("ends", "woke"), [(7.2, 5.2), (5.0, 5.0)])
def test_a_pause_that_ends_when_a_lost_segment_is_sent_again_has_ended_before(ends: float, woke: float) -> None:
    """Between two of its times: the kernel is shut so long."""
    curve = Curve((0.1 * number, 100.0) for number in range(400))
    marks = [Mark(2.0 + 0.25 * number, 1_900.0, True) for number in range(int(ends / 0.25))]
    visit = Visit(number=1, before=0, dialect="json", begins=0.0, here=False)
    visit.stretches.append(Stretch(2.0, marks, 2.0 + ends))
    estimator = Estimator(curve, Rooms(500.0, 600.0, 300.0))
    estimator.add(visit)
    supply, shut = estimator.evidence.supply(), estimator.evidence.shut
    assert supply.reads_after(3.0) == pytest.approx(2.0 + woke, abs=0.1)
    found = [time for interval in shut for time in interval]
    assert found == pytest.approx([] if woke == ends else [2.0 + woke, 2.0 + ends], abs=0.1)
