"""How many bytes a second a simulated client reads, over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from random import Random

from ...load.behaviour import Behaviour
from .plan import Place, Plan

Piece = tuple[float, float]  # (from when on: seconds of the measurement, bytes a second)
PROMPT = math.inf  # a pace: everything at once


class Supply:
    """Pieces of constant pace. Time goes forward only: what lies behind is forgotten.

    Args:
        pieces: In their order, maybe without an end. Before the first one the client reads at once.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = iter(pieces)
        self._pace = PROMPT
        self._next = next(self._pieces, None)

    def at(self, seconds: float) -> Piece:
        """Returns (until when, bytes a second); infinite if it never changes."""
        while self._next is not None and self._next[0] <= seconds:
            self._pace = self._next[1]
            self._next = next(self._pieces, None)
        return (math.inf if self._next is None else self._next[0]), self._pace


def chance_of(place: Place, plan: Plan) -> Random:
    """Returns what a client draws its habits from: its own in each run, the same for equal seeds."""
    return Random(f"{plan.seed} {place.number} supply")  # noqa: S311 - no secret


def supply(place: Place, plan: Plan, chance: Random) -> Supply:
    """Returns how a client reads. It does not depend on the server: equal chances, equal pauses."""
    if place.recorded is not None:
        return Supply(place.recorded.pieces)
    match place.kind:
        case Behaviour.SLOW:
            return Supply([(0.0, plan.slow_bytes_per_second.logarithmic(chance))])
        case Behaviour.STALLED:
            return Supply([(0.0, 0.0)])
        case Behaviour.PAUSING:
            return Supply(_pauses(plan, chance))
        case _:
            return Supply([])


def _pauses(plan: Plan, chance: Random) -> Iterator[Piece]:
    """The first pause comes after a part of the time that lies between two."""
    seconds = plan.awake_seconds.even(chance) * chance.random()
    while True:
        yield seconds, 0.0
        seconds += plan.pause_seconds.even(chance)
        yield seconds, PROMPT
        seconds += plan.awake_seconds.even(chance)
