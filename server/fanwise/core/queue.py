"""A client's queue: a bounded window onto a channel's log. A queue stores nothing but a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from .log import Log
from .publication import Publication
from .reasons import GapReason

if TYPE_CHECKING:
    from .selection import Selection


class Gap(NamedTuple):
    """Publications that a client will not get: the offsets `first` to `last`, both included.

    With EPOCH and a `last` of 0 nothing of the new log is missing: the publications were in the old one.
    """

    first: int
    last: int
    reason: GapReason = GapReason.SLOW
    unwanted: int = 0  # publications in between that the client's filter does not let through


class Overflow(Enum):
    """The policy for a client that is further behind than its queue is wide. The last two are cursor moves."""

    DISCONNECT = "disconnect"  # it is closed
    DROP_OLDEST = "drop_oldest"  # it goes on with the newest that fit into its queue
    LATEST = "latest"  # it goes on with the newest one, or the newest of each key


# As globals: CPython 3.11 makes a call of each attribute of an enum.
_DISCONNECT, _DROP_OLDEST = Overflow.DISCONNECT, Overflow.DROP_OLDEST


class Batch(NamedTuple):
    """Publications in order, and the gaps before or between them, in order."""

    publications: list[Publication]
    gaps: list[Gap]


class SharedCursor:
    """One cursor for many queues. Moving the cursor moves all queues that follow it."""

    __slots__ = ("cursor",)

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor


class Queue:
    """A window onto a log: everything after its cursor is still to be sent to its client.

    Reads like a bounded queue (`maxsize`, `qsize()`, `full()`, `empty()`, `get_nowait()`) and costs one integer.
    Publishing touches no queue: the log's head moves away from the cursor. Owns the cursor: the publications handed out
    and those skipped tile the log, without a hole and without an overlap. `max_bytes` counts payload. A third bound, on
    age, is the log's: `Log.stale`.
    """

    __slots__ = ("_cursor", "begun", "joined", "log", "max_bytes", "maxsize", "overflow", "peak", "shared")

    selection: Selection | None = None  # of a `FilteredQueue`, as `owner` is
    owner = ""

    def __init__(
        self, log: Log, cursor: int, max_messages: int, max_bytes: int, overflow: Overflow = Overflow.DISCONNECT
    ) -> None:
        self.log = log
        self.maxsize = max_messages
        self.max_bytes = max_bytes
        self.overflow = overflow
        self.shared: SharedCursor | None = None  # whose cursor counts, while the client is in a ready group
        self._cursor = cursor
        self.joined = log.head  # nothing up to here is too old: the client asked for it
        self.begun = self.joined - cursor  # the lag that it came with: not the client's fault
        self.peak = 0  # the furthest that it has been behind since, as far as observed (`Channel.note_lag`)

    @property
    def cursor(self) -> int:
        """Offset of the last publication that the client's sink was given, or that was skipped."""
        return self._cursor if self.shared is None else self.shared.cursor

    def follow(self, shared: SharedCursor) -> None:
        """Lets `shared`, which must stand where the queue stands, be the cursor from now on."""
        if shared.cursor != self.cursor:
            raise AssertionError(f"a queue at {self.cursor} cannot follow a cursor at {shared.cursor}")
        self.shared = shared

    def unfollow(self) -> None:
        """Takes the cursor back, where the shared one stands now."""
        self._cursor, self.shared = self.cursor, None

    def advance(self, cursor: int) -> None:
        """Moves on to `cursor`: the publications up to there are not for this client."""
        if self.shared is not None or not self._cursor <= cursor <= self.log.head:
            raise AssertionError(f"a queue at {self._cursor} cannot move on to {cursor}")
        self._cursor = cursor

    def rewind(self, cursor: int) -> None:
        """Goes back to `cursor`: the publications after it were not taken after all."""
        if self.shared is not None or not cursor <= self._cursor:
            raise AssertionError(f"a queue at {self._cursor} cannot go back to {cursor}")
        self._cursor = cursor

    def qsize(self) -> int:
        """The lag: publications after the cursor."""
        return self.log.head - self.cursor

    def qsize_bytes(self) -> int:
        """The lag in payload bytes, as far as the log retains them."""
        return self.log.bytes_after(self.cursor)

    def empty(self) -> bool:
        """Whether the client has everything."""
        return self.cursor == self.log.head

    def full(self) -> bool:
        """Whether the window is as wide as it may get, in messages or in bytes."""
        return self.qsize() >= self.maxsize or self.qsize_bytes() >= self.max_bytes

    def overflowed(self) -> bool:
        """Whether the client is further behind than its window is wide or old, or than the log reaches back."""
        log, cursor = self.log, self.cursor
        return (
            log.head - cursor > self.maxsize
            or log.bytes_after(cursor) > self.max_bytes
            or log.first > cursor + 1
            or self.joined <= cursor < log.stale
        )

    def get_nowait(self, *, max_bytes: int) -> Batch:
        """Takes the next publications, at least one and about `max_bytes` of payload; none when the queue is empty.

        Under DISCONNECT only publications that the log has dropped are a gap. Such a gap comes alone: the client has to
        go. The other policies skip what overflowed, and the gaps name the offsets. Raises AssertionError while the
        queue follows a shared cursor.
        """
        if self.shared is not None:
            raise AssertionError("a queue in a ready group is read by the sweep")
        before = self._cursor
        if self.overflow is _DISCONNECT:
            self._cursor = max(before, self.log.first - 1)
            return (
                Batch([], _gaps(before, [], self._cursor)) if self._cursor > before else self._take(before, max_bytes)
            )
        if not self.overflowed():
            return self._take(before, max_bytes)
        if self.overflow is _DROP_OLDEST:
            self._cursor = self._oldest_that_fits() - 1
            return self._take(before, max_bytes)
        return self._take_latest(max_bytes)

    def _take(self, before: int, max_bytes: int) -> Batch:
        publications = self.log.read(self._cursor, max_bytes=max_bytes)
        self._cursor += len(publications)
        return Batch(publications, _gaps(before, publications, self._cursor))

    def _oldest_that_fits(self) -> int:
        """Offset of the first publication of the widest window that is within the bounds; the newest always is."""
        log = self.log
        first = max(log.first, log.head - self.maxsize + 1)
        if self.joined <= self._cursor:
            first = max(first, min(log.stale + 1, log.head))
        while first < log.head and log.bytes_after(first - 1) > self.max_bytes:
            first += 1
        return first

    def _take_latest(self, max_bytes: int) -> Batch:
        log, before = self.log, self._cursor
        window = log.read(max(before, log.first - 1), max_bytes=log.max_bytes)
        taken = newest_of_keys(window, max_bytes)
        self._cursor = taken[-1].offset
        return Batch(taken, _gaps(before, taken, self._cursor))


def newest_of_keys(window: Sequence[Publication], max_bytes: int) -> list[Publication]:
    """Returns the newest publication of each key, as many as have `max_bytes` of payload, and one at least.

    Args:
        window: What is looked at, by offset; not empty.
        max_bytes: Of the payloads that are returned.
    """
    newest = {publication.key: publication.offset for publication in window}  # later ones win
    kept = [publication for publication in window if newest[publication.key] == publication.offset]
    taken, size = [kept[0]], len(kept[0].payload)
    for publication in kept[1:]:
        size += len(publication.payload)
        if size > max_bytes:
            break
        taken.append(publication)
    return taken


def _gaps(before: int, publications: list[Publication], after: int) -> list[Gap]:
    """The offsets between the cursors `before` and `after` that are not among `publications`."""
    if len(publications) == after - before:
        return []
    edges = [before, *(publication.offset for publication in publications), after + 1]
    return [Gap(left + 1, right - 1) for left, right in pairwise(edges) if right - left > 1]
