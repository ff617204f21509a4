"""Readers from a trace: how fast each client emptied its socket, as far as it shows.

While a client is behind its kernel is about full: it holds between all of its room and what is left when it says that
there is room again. So what was read by each look lies in a tube. A person either has little bandwidth or pauses: that
shows where it begins to take something again. Little bandwidth takes what comes at about the speed of the traffic, a
pause ends with a leap. The estimate is a path through the tube: of the typical speed where that is possible for little
bandwidth, and of none for a pause. Between the stretches the first has its typical speed, the second no bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from ..broadcaster.audit import AUDIT_SECONDS
from .scene import FAST_BYTES, Supply
from .visits import Curve, Mark, Stretch, Visit

TURN_SECONDS: Final = 0.02  # publications so close to a moment are of its burst
_SHORT_SECONDS: Final = 1e-3  # a time that no look can tell from none
_SLIGHT: Final = 0.01  # of the room: lengths on the wire are known so well
_SLACK: Final = 0.15  # of the room
# A full kernel has no memory for a last segment. That is sent again after 0.23 s, then after twice that, and so on: at
# these times from its loss the server may hear that there is room, and not before. Seen after every sixth pause.
_TRIES_SECONDS: Final = tuple(0.226 * ((1 << number) - 1) for number in range(2, 12))
_TRY_SLACK: Final = 0.08  # of the time, beside an audit
_LONG_RISE_SECONDS: Final = 1.75 * AUDIT_SECONDS  # what has paused has read all of its backlog in less
_LEAP: Final = 2  # times the traffic of the stretch: who reads faster would not have fallen behind, but has paused


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


def path(start: tuple[float, float], looks: list[Look], *, typical: float = 0.0) -> list[Piece]:
    """Returns the speeds of a path from `start` (time, bytes) through the looks, each as far as one speed goes.

    The speed is the possible one that is nearest to `typical`. A reader that has stood still goes on at a speed of its
    own as soon as it must have read something: the time before is not part of that.
    """
    pieces: list[Piece] = []
    anchor, least, most, rate = start, 0.0, math.inf, 0.0
    previous = start[0]
    for look in looks:
        seconds = max(look.at - anchor[0], _SHORT_SECONDS)
        low, high = (look.least - anchor[1]) / seconds, (look.most - anchor[1]) / seconds
        wakes = rate <= 0 < low
        if (wakes or max(least, low) > min(most, high)) and previous > anchor[0]:
            pieces.append(Piece(anchor[0], previous, rate))
            anchor = previous, anchor[1] + rate * (previous - anchor[0])
            seconds = max(look.at - previous, _SHORT_SECONDS)
            least, most = 0.0, math.inf
            low, high = (look.least - anchor[1]) / seconds, (look.most - anchor[1]) / seconds
        least, most = max(least, low), min(most, max(high, 0.0))
        rate = min(max(typical, least), max(most, least))
        previous = look.at
    if previous > anchor[0]:
        pieces.append(Piece(anchor[0], previous, rate))
    return pieces


class Rise(NamedTuple):
    """What a kernel accepted between two standstills, or from one to the end of a stretch.

    Attributes:
        size_bytes: What was accepted.
        seconds: In so much time, at most.
        ends: When the last of it was seen.
        still: Whether a standstill followed.
    """

    size_bytes: float
    seconds: float
    ends: float
    still: bool


def rises(stretch: Stretch, curve: Curve) -> Iterator[Rise]:
    """Yields the rises of a stretch. A client that has caught up was given all that was published."""
    marks = stretch.marks
    if stretch.caught_at is not None:
        marks = [*marks, Mark(stretch.caught_at, max(curve.at(stretch.caught_at), marks[-1].accepted), False)]
    begins: Mark | None = None
    for one, other in pairwise(marks):
        if other.accepted > one.accepted:
            begins = begins or one
        elif begins is not None:
            yield Rise(one.accepted - begins.accepted, one.at - begins.at, one.at, True)
            begins = None
    if begins is not None:
        yield Rise(marks[-1].accepted - begins.accepted, marks[-1].at - begins.at, marks[-1].at, False)


class Rooms(NamedTuple):
    """What the kernels of both sides hold of a reader that is behind.

    Attributes:
        room_bytes: When they are full for the first time.
        refill_bytes: When they were filled again.
        step_bytes: What they take in one step.
    """

    room_bytes: float
    refill_bytes: float
    step_bytes: float


def bandwidth_of(chain: list[Visit], curve: Curve, rooms: Rooms) -> float | None:
    """Returns the bytes a second of a person that has little bandwidth; None for one that pauses, or if none shows.

    With little bandwidth a kernel is refilled step by step, a room at most each time. After a pause a leap comes, which
    is larger and faster than the traffic. What a refill holds beyond the first room was accepted, and not read.

    Args:
        chain: Its visits.
        curve: What was published on its channels.
        rooms: What the kernels hold.
    """
    leaps = steps = read = seconds = 0.0
    for stretch in (stretch for visit in chain for stretch in visit.stretches if stretch.marks):
        found = list(rises(stretch, curve))
        if not found:
            continue
        lasted = max(found[-1].ends - stretch.began_at, _SHORT_SECONDS)
        traffic = (curve.at(found[-1].ends) - curve.before(stretch.began_at - TURN_SECONDS)) / lasted
        read += sum(rise.size_bytes for rise in found)
        if stretch.caught_at is None:
            read = max(read - (rooms.refill_bytes - rooms.room_bytes), 0.0)
        seconds += lasted
        for rise in found:
            if rise.size_bytes > (1 + _SLACK) * rooms.refill_bytes and rise.size_bytes > _LEAP * traffic * rise.seconds:
                leaps += rise.size_bytes
            elif rise.still or rise.seconds > _LONG_RISE_SECONDS:
                steps += rise.size_bytes
    return read / seconds if steps > leaps else None


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What the stretches of one reader have shown.

    Attributes:
        bandwidth: Bytes a second, where it has little; None for a reader that pauses.
        pieces: By time, without overlap.
        pauses: Seconds of the pauses whose end was seen.
        censored: From when on it paused, where the end was not seen.
        shut: When its kernel took nothing, although it read.
    """

    bandwidth: float | None = None
    pieces: list[Piece] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    censored: list[float] = field(default_factory=list)
    shut: list[tuple[float, float]] = field(default_factory=list)

    def add(self, begins: float, ends: float, rate: float) -> None:
        """Adds a piece behind the others; what overlaps them is cut off."""
        begins = max(begins, self.pieces[-1].ends if self.pieces else 0.0)
        if ends > begins:
            self.pieces.append(Piece(begins, ends, rate))

    def supply(self) -> Supply:
        """Returns the pieces, and the typical rate between and after them."""
        typical = FAST_BYTES if self.bandwidth is None else self.bandwidth
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
        rooms: What the kernels hold.
        bandwidth: Of the person; None if it pauses.
    """

    def __init__(self, curve: Curve, rooms: Rooms, *, bandwidth: float | None = None) -> None:
        self._curve = curve
        self._room, self._refill, self._step = rooms
        self.evidence = Evidence(bandwidth=bandwidth)

    def add(self, visit: Visit) -> None:
        """Reads a visit."""
        free_from = visit.begins  # from when on it read all that it was given
        for stretch in visit.stretches:
            if stretch.marks and self.evidence.bandwidth is not None:
                self._add_steady(stretch, self.evidence.bandwidth)
            elif stretch.marks:
                self._add_paused(stretch, free_from=free_from, ends=visit.ends)
            elif stretch.caught_at is not None and self.evidence.bandwidth is None:
                self._add_blink(stretch.began_at, stretch.caught_at, free_from)
            free_from = stretch.caught_at or free_from

    def come_back(self, at: float) -> None:
        """The person has connected again: a pause whose end was not seen has ended before."""
        if self.evidence.censored:
            began_at = self.evidence.censored.pop()
            self.evidence.add(began_at, at, 0.0)
            self.evidence.pauses.append(at - began_at)

    def _add_steady(self, stretch: Stretch, bandwidth: float) -> None:
        """A stretch of little bandwidth."""
        slack = _SLACK * self._refill  # a kernel says that there is room a little sooner or later
        looks = [Look(at, least - slack, most + slack) for at, least, most in self._looks(stretch, wakes=False)]
        for piece in path(self._start(stretch), looks, typical=bandwidth):
            self.evidence.add(*piece)
        if stretch.caught_at is not None:
            last = stretch.marks[-1]
            rest = self._curve.at(stretch.caught_at) - last.accepted
            seconds = max(stretch.caught_at - last.at, _SHORT_SECONDS)
            self.evidence.add(last.at, stretch.caught_at, max(bandwidth, (rest - self._step) / seconds))

    def _add_paused(self, stretch: Stretch, *, free_from: float, ends: float | None) -> None:
        """A stretch that a pause began, and others may have made longer."""
        evidence, caught_at, last = self.evidence, stretch.caught_at, stretch.marks[-1]
        start = self._start(stretch)
        pieces = path(start, self._looks(stretch, wakes=True))
        if not pieces or pieces[0].rate <= 0:  # it paused before that showed
            paused_at = self._curve.when(start[1] + _SLIGHT * self._room)
            evidence.add(max(paused_at, free_from), stretch.began_at, 0.0)
        idle = not pieces or pieces[-1].rate <= 0
        idle_from = pieces[-1].begins if pieces else last.at
        resumed = last.at
        if caught_at is not None and idle:
            resumed = max(caught_at - max(self._curve.at(caught_at) - last.accepted, 0.0) / FAST_BYTES, last.at)
        woke = math.inf
        if pieces and pieces[0].rate <= 0 and (len(pieces) > 1 or caught_at is not None):
            woke = self._woke(stretch, pieces[0].ends if len(pieces) > 1 else resumed)
        for piece in pieces:
            evidence.add(piece.begins, min(piece.ends, woke) if piece is pieces[0] else piece.ends, piece.rate)
        evidence.pauses += [one.ends - one.begins for one, other in pairwise(pieces) if one.rate <= 0 < other.rate]
        if caught_at is None and idle:
            evidence.add(last.at, ends or last.at, 0.0)
            evidence.censored.append(idle_from)
        elif caught_at is not None:
            evidence.add(last.at, resumed if len(pieces) > 1 else min(resumed, woke), 0.0)
            evidence.add(resumed, caught_at, FAST_BYTES)
            if idle:
                evidence.pauses.append(resumed - idle_from)

    def _woke(self, stretch: Stretch, seen_at: float) -> float:
        """Returns when a pause has ended that the server saw end at `seen_at`: then, or between two tries to send."""
        lasted = seen_at - stretch.began_at
        for before, time in pairwise(_TRIES_SECONDS):
            if (1 - _TRY_SLACK / 4) * time <= lasted <= (1 + _TRY_SLACK) * time + AUDIT_SECONDS:
                woke = stretch.began_at + min((before + time) / 2, lasted)
                self.evidence.shut.append((woke, seen_at))
                return woke
        return seen_at

    def _add_blink(self, began_at: float, caught_at: float, free_from: float) -> None:
        """A stretch that no audit has met: a short pause."""
        paused_at = max(self._curve.when(self._accepted_at(began_at) - self._room), free_from)
        self.evidence.add(paused_at, caught_at - _SHORT_SECONDS, 0.0)

    def _start(self, stretch: Stretch) -> tuple[float, float]:
        """Returns when a stretch began, and what was read by then."""
        accepted = min(self._accepted_at(stretch.began_at), stretch.marks[0].accepted)
        return stretch.began_at, accepted - self._room

    def _accepted_at(self, began_at: float) -> float:
        """Returns what the kernel had accepted when it was full: all, or as much of a burst as it had room for."""
        return min(self._curve.at(began_at), self._curve.before(began_at - TURN_SECONDS) + self._room)

    def _looks(self, stretch: Stretch, *, wakes: bool) -> list[Look]:
        """Returns the tube; with `wakes` a kernel that accepts again after a standstill was read to a good part."""
        looks, before, stood, full = [], stretch.marks[0], False, self._room
        for mark in stretch.marks:
            rose = mark.accepted > before.accepted
            read = before.accepted - full + self._step / 2 if stood and rose else -math.inf
            full = self._refill if rose else full
            least = max(mark.accepted - full, read)
            looks.append(Look(mark.at, least, max(mark.accepted - full + self._step, least)))
            before, stood = mark, wakes and not rose
        return looks
