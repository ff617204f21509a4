"""A scene from a trace: its publications, and a reader for each person that ever fell behind."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

from ..core.forgiven import hidden_bytes
from ..core.trace import Connected, Header, Record
from .estimate import TURN_SECONDS, Estimator, Evidence, Rooms, bandwidth_of, rises
from .scene import DIALECTS, FIRST_STEP_SHARE, STEP_SHARE, Reader, Scene, refill_bytes
from .visits import Book, Visit, wire_sizes

AWAY_SECONDS: Final = (0.5, 1.5)  # until a dropped client comes back, where no trace has seen one return
_LEAST_BYTES: Final = 32_768  # that a burst must bring, and leave, to show what the kernels took of it
_FEW: Final = 8  # bursts that are worth more than what was measured elsewhere
_MOST_STEP: Final = 0.95  # some of the room is never empty while a reader is behind
_FULL: Final = 0.9  # of them: others met a kernel that was not empty


class Traced(NamedTuple):
    """What a trace shows.

    Attributes:
        scene: To be replayed.
        header: Of the trace.
        book: What the trace has said.
        room_bytes: What the kernels take of a client that does not read.
        step_share: Of a refill, what a slow reader's kernel takes in one step.
        room_seen: Whether the trace shows that, and not another measurement.
        pauses: Seconds of each pause whose end was seen.
        censored: Pauses whose end was not seen.
        bandwidths: Bytes a second of each reader that was slow, not pausing.
    """

    scene: Scene
    header: Header
    book: Book
    room_bytes: float
    step_share: float
    room_seen: bool
    pauses: list[float]
    censored: int
    bandwidths: list[float]


def read_scene(header: Header, records: Iterable[Record], *, away: tuple[float, float] | None = None) -> Traced:
    """Returns what a trace shows.

    Args:
        header: Its header.
        records: All others.
        away: How long a dropped client stays away; by default as the trace shows.
    """
    records = list(records)
    names = Counter(record.dialect for record in records if isinstance(record, Connected))
    dialect = next((name for name, _ in names.most_common() if name in DIALECTS), "plain")
    book = Book(wire_sizes(DIALECTS[dialect]))
    book.read(records)
    chains = people(book)
    seen = room_bytes(book)
    wire_bytes = book.curve(book.names).at(math.inf) / max(len(book.sent), 1)
    room = hidden_bytes(wire_bytes) if seen is None else seen
    refill = refill_bytes(room, wire_bytes)
    step = step_share(book, refill)
    rooms = Rooms(room, refill, step * refill)
    shown = [(chain, _evidence(chain, book, rooms)) for chain in chains]
    pauses = sorted(seconds for _, evidence in shown for seconds in evidence.pauses)
    censored = sum(_complete(evidence, pauses) for _, evidence in shown)
    away = away or away_seconds(chains)
    readers = [_reader(chain, evidence, book, rooms, away=away) for chain, evidence in shown]
    scene = Scene(
        publications=book.sent,
        readers=readers,
        fast_clients=max(book.clients - len(readers), 0),
        ends=book.ends,
        dialect=dialect,
    )
    slow = [evidence.bandwidth for _, evidence in shown if evidence.bandwidth is not None]
    return Traced(scene, header, book, room, step, seen is not None, pauses, censored, slow)


def people(book: Book) -> list[list[Visit]]:
    """Returns the visits of each person that an audit has met behind, in their order.

    A client that was behind for shorter times only is as one that always follows: audits judge what they meet twice.
    """
    chains: dict[int, list[Visit]] = {}
    for number, visit in book.visits.items():
        chains[number] = [*chains.pop(visit.before, []), visit]
    return [chain for chain in chains.values() if any(one.marks for visit in chain for one in visit.stretches)]


def room_bytes(book: Book) -> float | None:
    """Returns what the kernels take of a client that does not read: the most of most bursts that met such a client.

    None without enough of these.
    """
    found = []
    for visit in book.visits.values():
        curve = book.curve(visit.channels) if visit.stretches else None
        for stretch in visit.stretches:
            looks = [mark.accepted for mark in stretch.marks[:2]]
            if curve is None or len(set(looks)) != 1 or len(stretch.marks) == 1:
                continue
            before = curve.before(stretch.began_at - TURN_SECONDS)
            taken = looks[0] - before
            if taken > _LEAST_BYTES and curve.at(stretch.began_at + TURN_SECONDS) - before > taken + _LEAST_BYTES:
                found.append(taken)
    return sorted(found)[int(_FULL * len(found))] if len(found) >= _FEW else None


def step_share(book: Book, refill: float) -> float:
    """Returns the part of a refill that a slow reader's kernel takes in one step: the median of what a trace shows."""
    found = [
        rise.size_bytes
        for visit in book.visits.values()
        for stretch in visit.stretches
        if stretch.marks
        for rise in rises(stretch, book.curve(visit.channels))
        if rise.still and rise.size_bytes <= refill
    ]
    share = statistics.median(found) / refill if len(found) >= _FEW else STEP_SHARE
    return min(max(share, FIRST_STEP_SHARE), _MOST_STEP)


def away_seconds(chains: list[list[Visit]]) -> tuple[float, float] | None:
    """Returns how long dropped clients stay away; None if some were dropped and none came back.

    From its close to its next connection a client may also have paused: the short times count.
    """
    pairs = [pair for chain in chains for pair in pairwise(chain)]
    found = sorted(later.begins - one.ends for one, later in pairs if one.dropped and one.ends is not None)
    if found:
        return found[0], max(found[0], min(3 * found[0], statistics.median(found)))
    return None if any(visit.dropped for chain in chains for visit in chain) else AWAY_SECONDS


def _evidence(chain: list[Visit], book: Book, rooms: Rooms) -> Evidence:
    curve = book.curve(chain[0].channels)
    estimator = Estimator(curve, rooms, bandwidth=bandwidth_of(chain, curve, rooms))
    for number, visit in enumerate(chain):
        if number:
            estimator.come_back(visit.begins)
        estimator.add(visit)
    return estimator.evidence


def _complete(evidence: Evidence, pauses: list[float]) -> int:
    """Lets pauses whose end was not seen last as long as the median of longer ones; returns how many there are.

    Without a longer one such a pause lasts as long again as was seen of it: where nothing else is known, half of the
    pauses that have lasted for a time end before twice that time.
    """
    for began_at in evidence.censored:
        seen = (evidence.pieces[-1].ends if evidence.pieces else began_at) - began_at
        longer = [seconds for seconds in pauses if seconds > seen]
        evidence.add(began_at, began_at + (statistics.median(longer) if longer else 2 * seen), 0.0)
    return len(evidence.censored)


def _reader(
    chain: list[Visit],
    evidence: Evidence,
    book: Book,
    rooms: Rooms,
    *,
    away: tuple[float, float] | None,
) -> Reader:
    last = chain[-1]
    channels = next((visit.channels for visit in reversed(chain) if visit.channels), {})
    return Reader(
        name=f"client-{chain[0].number}",
        channels=tuple(book.names[channel] for channel in channels),
        supply=evidence.supply(),
        room_bytes=rooms.room_bytes,
        refill_bytes=rooms.refill_bytes,
        begins=chain[0].begins,
        shut=tuple(evidence.shut),
        ends=None if last.dropped else last.ends,
        away_seconds=away,
    )
