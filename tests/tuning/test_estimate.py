"""`tuning.estimate`: the path with the fewest changes of speed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.tuning.estimate import Evidence, Look, Piece, path


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
    pieces = path((0.0, 0.0), seen)
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


def test_most_bytes_decide_whether_a_reader_is_slow() -> None:
    slow = Evidence(steady_bytes=1000.0, steady_seconds=2.0, abrupt_bytes=900.0)
    assert (slow.slow, slow.typical) == (True, 500.0)
    assert not Evidence(steady_bytes=900.0, steady_seconds=2.0, abrupt_bytes=1000.0).slow


def test_pieces_do_not_overlap_and_leave_the_typical_rate_between() -> None:
    evidence = Evidence(steady_bytes=1000.0, steady_seconds=2.0)
    evidence.add(1.0, 2.0, 0.0)
    evidence.add(1.5, 3.0, 10.0)
    supply = evidence.supply()
    assert [supply.total(at) for at in (1.0, 2.0, 3.0, 4.0)] == [500.0, 500.0, 510.0, 1010.0]
