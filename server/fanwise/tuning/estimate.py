"""Readers from a trace: how fast each client emptied its socket, as far as it shows.

While a client is behind its kernel is about full: it holds between all of its room and what is left when it says that
there is room again. So what was read by each look lies in a tube, and the estimate is the path through that tube with
the fewest changes of speed. While the client follows, only a lower bound shows. Then a reader of little bandwidth has
its average rate, and a reader that pauses has no bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .scene import FAST_BYTES, WAKE_SHARE, Supply
from .visits import Curve, Stretch, Visit

TURN_SECONDS: Final = 0.02  # publications so close to a moment are of its burst
_SHORT_SECONDS: Final = 1e-3  # a time that no look can tell from none


class Piece(NamedTuple):
    """A time and what was read in it, in bytes a second."""

    begins: float
    ends: float
    rate: float


class Look(NamedTuple):
    """What was read of the stream by a time: at least and at most."""

    at: float
    least: float
    most: float


def path(start: tuple[float, float], looks: list[Look]) -> list[Piece]:
    """Returns the speeds of a path from `start` (time, bytes) through the looks, each as far as one speed goes.

    A speed of 0 is chosen where it is possible: a reader that stands still is more likely than one that creeps.
    """
    pieces: list[Piece] = []
    anchor, least, most, rate = start, 0.0, math.inf, 0.0
    previous = start[0]
    for look in looks:
        seconds = max(look.at - anchor[0], _SHORT_SECONDS)
        low, high = (look.least - anchor[1]) / seconds, (look.most - anchor[1]) / seconds
        if max(least, low) > min(most, high) and previous > anchor[0]:
            pieces.append(Piece(anchor[0], previous, rate))
            anchor = previous, anchor[1] + rate * (previous - anchor[0])
            seconds = max(look.at - previous, _SHORT_SECONDS)
            least, most = 0.0, math.inf
            low, high = (look.least - anchor[1]) / seconds, (look.most - anchor[1]) / seconds
        least, most = max(least, low), min(most, max(high, 0.0))
        rate = 0.0 if least <= 0 else (least + max(most, least)) / 2
        previous = look.at
    if previous > anchor[0]:
        pieces.append(Piece(anchor[0], previous, rate))
    return pieces


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What the stretches of one reader have shown.

    Attributes:
        pieces: By time, without overlap.
        steady_bytes: Bytes that were read at a steady rate while it was behind.
        steady_seconds: In so much time.
        abrupt_bytes: Bytes that were read all at once, at the end of a pause.
        pauses: Seconds of the pauses whose end was seen.
        censored: From when on it paused, where the end was not seen.
    """

    pieces: list[Piece] = field(default_factory=list)
    steady_bytes: float = 0.0
    steady_seconds: float = 0.0
    abrupt_bytes: float = 0.0
    pauses: list[float] = field(default_factory=list)
    censored: list[float] = field(default_factory=list)

    @property
    def slow(self) -> bool:
        """Whether most of its bytes went at a steady rate: it does not pause, it has little bandwidth."""
        return self.steady_bytes > self.abrupt_bytes

    @property
    def typical(self) -> float:
        """Bytes a second where nothing shows."""
        return self.steady_bytes / self.steady_seconds if self.slow else FAST_BYTES

    def add(self, begins: float, ends: float, rate: float) -> None:
        """Adds a piece behind the others; what overlaps them is cut off."""
        begins = max(begins, self.pieces[-1].ends if self.pieces else 0.0)
        if ends > begins:
            self.pieces.append(Piece(begins, ends, rate))

    def supply(self) -> Supply:
        """Returns the pieces, and the typical rate between and after them."""
        typical = self.typical
        edges = [(0.0, typical)]
        for piece in self.pieces:
            edges += [(piece.begins, piece.rate), (piece.ends, typical)]
        kept: list[tuple[float, float]] = []
        for start, rate in edges:
            if kept and start <= kept[-1][0]:
                kept.pop()
            kept.append((start, rate))
        return Supply(kept)


class Estimator:
    """Reads the stretches of one person's visits, in their order.

    Args:
        curve: What was published on its channels.
        room_bytes: What the kernels take of a reader that does not read.
    """

    def __init__(self, curve: Curve, *, room_bytes: float) -> None:
        self._curve = curve
        self._room = room_bytes
        self.evidence = Evidence()

    def add(self, visit: Visit) -> None:
        """Reads a visit."""
        free_from = visit.begins  # from when on it read all that it was given
        for stretch in visit.stretches:
            if stretch.marks:
                self._add_stretch(stretch, free_from=free_from, ends=visit.ends)
            elif stretch.caught_at is not None:
                self._add_blink(stretch.began_at, stretch.caught_at, free_from)
            free_from = stretch.caught_at or free_from

    def come_back(self, at: float) -> None:
        """The person has connected again: a pause whose end was not seen has ended before."""
        if self.evidence.censored:
            began_at = self.evidence.censored.pop()
            self.evidence.add(began_at, at, 0.0)
            self.evidence.pauses.append(at - began_at)

    def _add_stretch(self, stretch: Stretch, *, free_from: float, ends: float | None) -> None:
        evidence, caught_at = self.evidence, stretch.caught_at
        accepted = min(self._accepted_at(stretch.began_at), stretch.marks[0].accepted)
        pieces = path((stretch.began_at, accepted - self._room), [self._look(*mark[:2]) for mark in stretch.marks])
        idle = not pieces or pieces[-1].rate <= 0
        if not pieces or pieces[0].rate <= 0:  # it paused before that showed
            evidence.add(max(self._curve.when(accepted - self._room), free_from), stretch.began_at, 0.0)
        for piece in pieces:
            evidence.add(*piece)
            if piece.rate > 0:
                evidence.steady_bytes += piece.rate * (piece.ends - piece.begins)
                evidence.steady_seconds += piece.ends - piece.begins
        last = stretch.marks[-1]
        if caught_at is None:
            if idle:
                evidence.add(last.at, ends or last.at, 0.0)
                evidence.censored.append(pieces[-1].begins if pieces else last.at)
            return
        rest = max(self._curve.at(caught_at) - last.accepted, 0.0)
        if idle:
            resumed = max(caught_at - rest / FAST_BYTES, last.at)
            evidence.add(last.at, resumed, 0.0)
            evidence.add(resumed, caught_at, FAST_BYTES)
            evidence.abrupt_bytes += rest
            evidence.pauses.append(resumed - (pieces[-1].begins if pieces else last.at))
        else:
            evidence.add(last.at, caught_at, max(rest / max(caught_at - last.at, _SHORT_SECONDS), pieces[-1].rate))

    def _add_blink(self, began_at: float, caught_at: float, free_from: float) -> None:
        """A stretch that no audit has met: a short pause, or a burst that little bandwidth took long for."""
        paused_at = max(self._curve.when(self._accepted_at(began_at) - self._room), free_from)
        if not self.evidence.slow:
            self.evidence.add(paused_at, caught_at - _SHORT_SECONDS, 0.0)

    def _accepted_at(self, began_at: float) -> float:
        """Returns what the kernel had accepted when it was full: all, or as much of a burst as it had room for."""
        return min(self._curve.at(began_at), self._curve.before(began_at - TURN_SECONDS) + self._room)

    def _look(self, at: float, accepted: float) -> Look:
        return Look(at, accepted - self._room, accepted - self._room * (1 - WAKE_SHARE))
