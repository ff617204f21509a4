"""`tuning.scene`: supplies and scenes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.tuning.scene import Reader, Scene, Sent, Supply

PIECES = st.lists(st.tuples(st.floats(0.1, 5.0), st.sampled_from([0.0, 1.0, 250.0, 1e6])), min_size=1, max_size=6)


def test_a_supply_adds_up() -> None:
    """Two seconds of 10, three of none, then 100 for ever."""
    supply = Supply([(0.0, 10.0), (2.0, 0.0), (5.0, 100.0)])
    assert supply.pieces == [(0.0, 10.0), (2.0, 0.0), (5.0, 100.0)]
    assert [supply.total(time) for time in (0.0, 1.0, 2.0, 4.0, 6.0)] == [0.0, 10.0, 20.0, 20.0, 120.0]
    assert supply.when(20.0) == 2.0
    assert supply.when(70.0) == 5.5
    assert supply.reads_after(3.0) == 5.0
    assert supply.pauses(until=4.0) == [2.0]


def test_a_reader_that_stops_for_ever_takes_no_more() -> None:
    supply = Supply([(0.0, 10.0), (2.0, 0.0)])
    assert supply.when(20.1) == math.inf
    assert supply.reads_after(2.0) == math.inf


@given(PIECES, st.floats(0.0, 1.0))
def test_the_first_time_of_a_total_has_that_total(pieces: list[tuple[float, float]], share: float) -> None:
    """`when` is the inverse of `total`, as far as there is one."""
    starts = [sum(seconds for seconds, _ in pieces[:place]) for place in range(len(pieces))]
    supply = Supply(zip(starts, [rate for _, rate in pieces], strict=True))
    total = supply.total(starts[-1]) * share
    assert supply.total(supply.when(total)) == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("pieces", [[], [(0.0, -1.0)], [(1.0, 1.0), (1.0, 2.0)]])
def test_a_supply_that_makes_no_sense_is_refused(pieces: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="supply"):
        Supply(pieces)


def test_a_scene_knows_its_traffic() -> None:
    reader = Reader(name="a", channels=("c",), supply=Supply([(0.0, 1.0)]), room_bytes=1.0, begins=1.0)
    scene = Scene(publications=[Sent(2.0, "c", 10), Sent(3.0, "c", 30)], readers=[reader], fast_clients=2, ends=5.0)
    assert (scene.begins, scene.seconds, scene.clients, scene.rate, scene.size) == (1.0, 4.0, 3, 0.5, 20.0)
