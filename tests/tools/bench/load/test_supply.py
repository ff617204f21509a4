from __future__ import annotations

import math
from random import Random

from fanwise.tools.bench.load.plan import Place, Plan
from fanwise.tools.bench.load.recording import Range
from fanwise.tools.bench.load.supply import PROMPT, Supply, supply
from fanwise.tools.load.behaviour import Behaviour

PLAN = Plan(url="ws://h/", pause_seconds=Range(3, 20), awake_seconds=Range(2, 8), slow_bytes_per_second=Range(10, 1000))


def of(kind: Behaviour, seed: int) -> Supply:
    return supply(Place(0, 0, kind), PLAN, Random(seed))


def test_pieces() -> None:
    """Before the first one a client reads at once; the last one lasts."""
    made = Supply([(1.0, 0.0), (2.0, 500.0)])
    assert [made.at(seconds) for seconds in (0.0, 1.0, 1.9, 2.0, 99.0)] == [
        (1.0, PROMPT),
        (2.0, 0.0),
        (2.0, 0.0),
        (math.inf, 500.0),
        (math.inf, 500.0),
    ]
    assert Supply([(0.0, 1.0), (0.0, 2.0)]).at(0.0) == (math.inf, 2.0)


def test_pauses_and_the_time_between_them() -> None:
    """Both as long as the plan says, one after the other, without an end."""
    made, seconds, lengths = of(Behaviour.PAUSING, 3), 0.0, list[tuple[float, float]]()
    while seconds < 1000:
        until, pace = made.at(seconds)
        lengths.append((pace, until - seconds))
        seconds = until
    assert lengths[0][1] < 8
    assert all(3 <= length <= 20 for pace, length in lengths[1:] if not pace)
    assert all(2 <= length <= 8 for pace, length in lengths[1:] if pace)
    assert [pace for pace, _ in lengths[:4]] == [PROMPT, 0.0, PROMPT, 0.0]


def test_each_kind_has_its_pace() -> None:
    """Equal chances, equal paces."""
    paces = {kind: of(kind, 1).at(0.0)[1] for kind in Behaviour if kind is not Behaviour.SLOW}
    assert paces.pop(Behaviour.STALLED) == 0
    assert set(paces.values()) == {PROMPT}
    slow = [of(Behaviour.SLOW, seed).at(0.0)[1] for seed in (1, 1, 2)]
    assert slow[0] == slow[1] != slow[2]
    assert all(10 <= pace <= 1000 for pace in slow)
