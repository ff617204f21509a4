"""What must hold of a record, whatever happened.

I1  Offsets of a client and epoch are tiled by messages and gaps: in order, no hole, nothing twice. No body comes twice
    in an epoch either; in another one it may.
I2  Another epoch begins only with a gap `epoch`, and such a gap leads to another epoch.
I3  A position has one body, over all clients and acks.
I4  What was acknowledged was seen by each client that was there, or is inside a gap that it was told, or before a gap
    `epoch` that it was told after the publication had begun.
I5  What was refused as `down` was seen by nobody.
I6  A last publication to each channel reaches all its clients.
I7  What one worker published to one channel has ascending offsets, within an epoch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fanwise.core.publication import Position

from .record import Began, Heard, Invoked, Record, Settled, Told

Story = list[Began | Heard | Told]
LAST = "last "  # how the body of a last publication begins


class Violation(NamedTuple):
    """An invariant that does not hold, and where."""

    invariant: str
    who: str
    what: str


class Published(NamedTuple):
    """A publication, with what its publisher was told."""

    invoked: Invoked
    settled: Settled


def judge(record: Record, *, returns: bool = False) -> list[Violation]:
    """All violations. O(clients of a channel x publications to it).

    With `returns` an epoch may come again: two engines were primaries at a time, and clients went from one to the other
    and back. They drop what they have had of an epoch.
    """
    stories = stories_of(record)
    published = published_in(record)
    found: list[Violation] = []
    for reader, story in stories.items():
        found += tiled(reader, story, returns=returns)
    found += one_body(record, published)
    found += nobody_misses(stories, published)
    found += refused_is_unseen(record, published)
    found += in_order(published)
    return found


def stories_of(record: Record) -> dict[str, Story]:
    stories: dict[str, Story] = defaultdict(list)
    for entry in record:
        if isinstance(entry, Began | Heard | Told):
            stories[entry.reader].append(entry)
    return stories


def published_in(record: Record) -> list[Published]:
    settled = {entry.body: entry for entry in record.all(Settled)}
    return [Published(entry, settled[entry.body]) for entry in record.all(Invoked) if entry.body in settled]


def gaps_in(record: Record) -> Counter[str]:
    return Counter(entry.reason for entry in record.all(Told))


def tiled(reader: str, story: Story, *, returns: bool) -> Iterator[Violation]:
    """I1 and I2."""
    tiling = Tiling(returns=returns)
    for entry in story:
        if isinstance(entry, Began):
            found = tiling.begin(entry)
        else:
            found = tiling.hear(entry) if isinstance(entry, Heard) else tiling.skip(entry)
        for invariant, what in found:
            yield Violation(invariant, reader, what)


class Tiling:
    """How far a client has the stream; each method returns the invariants that do not hold, and why."""

    def __init__(self, *, returns: bool) -> None:
        self._returns = returns
        self._at: Position
        self._begun = False
        self._turns = False  # whether this connection has begun in another epoch, whose gap is still to come
        self._left: dict[str, int] = {}  # epochs that it has left, and the offset up to which it has had them
        self._had = 0  # what comes up to here comes again, as the epoch does
        self._bodies: set[tuple[str, str]] = set()  # with their epochs

    def begin(self, entry: Began) -> Iterator[tuple[str, str]]:
        if not self._begun:
            self._begun, self._at = True, entry.position
        elif entry.recovered and entry.position != self._at:
            yield "I1", f"goes on at {entry.position} and has {self._at}"
        self._turns = not entry.recovered and entry.position.epoch != self._at.epoch

    def hear(self, entry: Heard) -> Iterator[tuple[str, str]]:
        position, at = entry.position, self._at
        if position.epoch != at.epoch or self._turns:
            yield "I2", f"{position} comes after {at} without a gap"
        elif position.offset != at.offset + 1:
            yield "I1", f"{position} comes after {at}"
        if (position.epoch, entry.body) in self._bodies and position.offset > self._had:
            yield "I1", f"{entry.body!r} comes twice, again at {position}"
        self._bodies.add((position.epoch, entry.body))
        self._at, self._turns = position, False

    def skip(self, entry: Told) -> Iterator[tuple[str, str]]:
        at = self._at
        if entry.reason == "epoch":
            if entry.epoch == at.epoch:
                yield "I2", f"an epoch gap leads from {at} into its own epoch"
            elif entry.epoch in self._left and not self._returns:
                yield "I2", f"epoch {entry.epoch} comes again"
            self._left[at.epoch] = max(at.offset, self._left.get(at.epoch, 0))
            self._had = self._left.get(entry.epoch, 0)
        elif (entry.epoch, entry.first) != (at.epoch, at.offset + 1):
            yield "I1", f"a gap {entry.epoch}:{entry.first}-{entry.last} comes after {at}"
        self._at, self._turns = Position(entry.epoch, entry.last), False


def one_body(record: Record, published: Iterable[Published]) -> Iterator[Violation]:
    """I3."""
    bodies: dict[tuple[str, Position], str] = {}
    places = [(entry.channel, entry.position, entry.body, entry.reader) for entry in record.all(Heard)]
    for invoked, settled in published:
        if settled.position is not None:
            places.append((invoked.channel, settled.position, invoked.body, invoked.worker))
    for channel, position, body, who in places:
        other = bodies.setdefault((channel, position), body)
        if other != body:
            yield Violation("I3", who, f"{channel} {position} is {body!r}, and {other!r} elsewhere")


def nobody_misses(stories: dict[str, Story], published: Iterable[Published]) -> Iterator[Violation]:
    """I4; I6 where it is a last publication."""
    to: dict[str, list[Published]] = defaultdict(list)
    for one in published:
        if one.settled.outcome == "acked":
            to[one.invoked.channel].append(one)
    for reader, story in stories.items():
        owed = is_owed(story)
        for one in to[story[0].channel]:
            if owed(one):
                last = one.invoked.body.startswith(LAST)
                what = f"{one.invoked.body!r} at {one.settled.position} never came, and no gap"
                yield Violation("I6" if last else "I4", reader, what)


def is_owed(story: Story) -> Callable[[Published], bool]:
    """Whether a client should have heard of a publication, and has not."""
    began = story[0]
    assert isinstance(began, Began)
    seen = {entry.body for entry in story if isinstance(entry, Heard)}
    gaps = [entry for entry in story if isinstance(entry, Told)]
    covered = {(gap.epoch, offset) for gap in gaps for offset in range(gap.first, gap.last + 1)}
    turned_at = max((gap.at for gap in gaps if gap.reason == "epoch"), default=0.0)
    told_at = max((gap.at for gap in gaps), default=0.0)

    def owed(one: Published) -> bool:
        invoked, position = one.invoked, one.settled.position
        if invoked.body in seen or invoked.at <= turned_at:
            return False
        if position is None:
            return began.at < invoked.at > told_at
        if position in covered:
            return False
        if position.epoch == began.position.epoch:
            return position.offset > began.position.offset
        return invoked.at > began.at

    return owed


def refused_is_unseen(record: Record, published: Iterable[Published]) -> Iterator[Violation]:
    """I5."""
    refused = {invoked.body for invoked, settled in published if settled.outcome == "down"}
    for entry in record.all(Heard):
        if entry.body in refused:
            yield Violation("I5", entry.reader, f"{entry.body!r} was refused, and is at {entry.position}")


def in_order(published: Iterable[Published]) -> Iterator[Violation]:
    """I7."""
    latest: dict[tuple[str, str, str], int] = {}
    for invoked, settled in published:  # in the order in which they were handed in
        if settled.position is None:
            continue
        key = (invoked.worker, invoked.channel, settled.position.epoch)
        if settled.position.offset <= latest.get(key, 0):
            yield Violation("I7", invoked.worker, f"{invoked.body!r} at {settled.position} was handed in later")
        latest[key] = settled.position.offset
