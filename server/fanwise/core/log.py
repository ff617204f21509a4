"""A channel's log: its recent publications, bounded in messages and in bytes.

Cursors are offsets: a cursor at 7 means that 7 is the last publication its owner has, and 8 the next that it reads.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Final, NamedTuple

from .filters import Tags
from .publication import Kind, Publication, TaggedPublication, make_publication

_DROPPED: Final = Publication(
    "", "", 0, b"", Kind.BINARY, 0.0
)  # stands where a publication was, so that its memory is free
_COMPACT_MESSAGES: Final = 64  # dropped places that are carried along before the lists are cut; any small number does


class Entry(NamedTuple):
    """A publication without its place in a log."""

    data: bytes
    kind: Kind
    time: float
    key: str | None
    tags: Tags | None = None


class Log:
    """The retained publications of one channel. Owns the invariant that offsets are dense: 1, 2, 3 and so on.

    A log that another process has begun starts after the offset `start`, and can be given older publications later.
    Bounded: above `max_messages` or `max_bytes` (of payload) the oldest go, but the newest always stays.

    Attributes:
        head: Offset of the newest publication; 0 before the first.
        end: Payload bytes ever appended.
        stale: Offset of the newest publication that was too old when ages were looked at last; 0 for none.
    """

    __slots__ = (
        "_base",
        "_base_end",
        "_dropped",
        "_dropped_end",
        "_ends",
        "_ledger",
        "_publications",
        "channel",
        "end",
        "epoch",
        "head",
        "max_bytes",
        "max_messages",
        "stale",
    )

    def __init__(self, channel: str, *, epoch: str, max_messages: int, max_bytes: int, start: int = 0) -> None:
        self.channel = channel
        self.epoch = epoch
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.head = start
        self.end = 0
        self.stale = 0
        self._dropped = start  # offset of the newest publication that is not retained any more
        self._dropped_end = 0  # what `end` was at that offset
        # Two lists side by side, for the offsets _base+1 .. head: what was appended, and what `end` was then. So the
        # bytes between two offsets are one subtraction.
        self._publications: list[Publication] = []
        self._ends: list[int] = []
        self._base = start
        self._base_end = 0
        self._ledger = [0]  # of all retained publications; a list, so that they can add to it without knowing the log

    def __len__(self) -> int:
        return self.head - self._dropped

    @property
    def first(self) -> int:
        """Offset of the oldest retained publication; `head + 1` while none is."""
        return self._dropped + 1

    @property
    def retained_bytes(self) -> int:
        """Payload bytes of the retained publications."""
        return self.end - self._dropped_end

    @property
    def extra_bytes(self) -> int:
        """Bytes that the retained publications keep beside their payloads: encodings and keys."""
        return self._ledger[0]

    def append(
        self, data: bytes, kind: Kind, time: float, key: str | None = None, tags: Tags | None = None
    ) -> Publication:
        """Appends the next publication and drops what is above the bounds. O(1), amortised."""
        self.head = head = self.head + 1
        self.end = end = self.end + len(data)
        if tags is None:
            publication = Publication(self.channel, self.epoch, head, data, kind, time, key, self._ledger)
            if key:
                self._ledger[0] += publication.extra_bytes
        else:
            publication = TaggedPublication(tags, self.channel, self.epoch, head, data, kind, time, key, self._ledger)
            self._ledger[0] += publication.extra_bytes
        self._publications.append(publication)
        self._ends.append(end)
        if head - self._dropped > self.max_messages or end - self._dropped_end > self.max_bytes:
            self.trim(max_messages=self.max_messages, max_bytes=self.max_bytes)
        return publication

    def extend(self, data: Sequence[bytes], *, kind: Kind, time: float) -> None:
        """Appends publications without a key, as `append` does one after another. O(publications), amortised.

        Raises:
            IndexError: `data` is empty.
        """
        self._ends += accumulate(map(len, data[1:]), initial=self.end + len(data[0]))
        self._publications += Publication.several(self.channel, self.epoch, self.head, data, kind, time, self._ledger)
        self.head += len(data)
        self.end = self._ends[-1]
        excess = self.head - self._dropped - self.max_messages
        if excess > 0:
            self._drop(excess)
        if excess > 0 or self.end - self._dropped_end > self.max_bytes:
            self.trim(max_messages=self.max_messages, max_bytes=self.max_bytes)

    def prepend(self, entries: Sequence[Entry]) -> None:
        """Puts publications before the oldest retained one: the last entry is the one right before it. O(log).

        Entries that would lead above the bounds are left out, the oldest first.

        Raises:
            ValueError: There are more entries than offsets before the log.
        """
        if len(entries) > self._dropped:
            raise ValueError(f"{len(entries)} publications do not fit before offset {self._dropped + 1}")
        self._compact(self._dropped - self._base)
        offset, end, count = self._dropped, self._dropped_end, len(self)
        older: list[Publication] = []
        ends: list[int] = []
        for data, kind, time, key, tags in reversed(entries):
            if count + len(older) >= self.max_messages or self.end - end + len(data) > self.max_bytes:
                break
            older.append(make_publication(tags)(self.channel, self.epoch, offset, data, kind, time, key, self._ledger))
            ends.append(end)
            self._ledger[0] += older[-1].extra_bytes
            offset, end = offset - 1, end - len(data)
        self._publications[:0] = reversed(older)
        self._ends[:0] = reversed(ends)
        self._base = self._dropped = offset
        self._base_end = self._dropped_end = end

    def read(self, cursor: int, *, max_bytes: int, until: int | None = None) -> list[Publication]:
        """The publications after `cursor`, up to offset `until` (default: the head) and `max_bytes` of payload.

        A publication larger than `max_bytes` is returned alone, so that its reader gets on. O(what is returned).

        Raises:
            IndexError: `cursor` is behind the oldest retained publication or ahead of the head.
        """
        if not self._dropped <= cursor <= self.head:
            raise IndexError(f"cursor {cursor} is outside {self._dropped}..{self.head}")
        start = cursor - self._base
        stop = len(self._ends) if until is None else until - self._base
        fits = bisect_right(self._ends, self.end_at(cursor) + max_bytes, start, stop)
        return self._publications[start : max(fits, min(start + 1, stop))]

    def pick(self, offsets: Iterable[int]) -> list[Publication]:
        """Returns the publications at some retained offsets. O(them)."""
        publications, before = self._publications, self._base + 1
        return [publications[offset - before] for offset in offsets]

    def bytes_after(self, cursor: int) -> int:
        """Payload bytes between `cursor` and the head; of what is retained, when `cursor` is behind that. O(1)."""
        return self.end - (self.end_at(cursor) if cursor > self._dropped else self._dropped_end)

    def end_at(self, offset: int) -> int:
        """Returns `end` as of a retained offset, or of the one before the first retained. O(1)."""
        return self._ends[offset - self._base - 1] if offset > self._base else self._base_end

    def time_at(self, offset: int) -> float:
        """Returns when a non-empty log got the publication at `offset`, or the oldest retained one after it."""
        return self._publications[max(offset - 1, self._dropped) - self._base].time

    def since(self, time: float) -> tuple[int, int, float]:
        """Returns how much was appended from `time` on, as far as that is retained. O(log n).

        The figures are publications, their payload bytes, and the time from which on all are among them.
        """
        oldest = self._dropped - self._base
        place = bisect_left(self._publications, time, oldest, key=attrgetter("time"))
        count = len(self._publications) - place
        whole = place > oldest or not count
        return count, self.end - self.end_at(self.head - count), time if whole else self._publications[place].time

    def expire(self, time: float) -> None:
        """Drops what was appended before `time`, but never the newest. O(what is dropped)."""
        place = self._dropped - self._base
        fresh = bisect_left(self._publications, time, place, key=attrgetter("time"))
        self.trim(max_messages=len(self._publications) - fresh, max_bytes=self.retained_bytes)

    def age(self, time: float) -> None:
        """Takes what was appended before `time` as `stale`. O(1) if nothing more is, else O(log n)."""
        place = max(self.stale, self._dropped) - self._base
        publications = self._publications
        if place < len(publications) and publications[place].time < time:
            self.stale = self._base + bisect_left(publications, time, place, key=attrgetter("time"))

    def trim(self, *, max_messages: int, max_bytes: int) -> None:
        """Drops the oldest until both bounds hold, but never the newest. O(what is dropped)."""
        place = self._dropped - self._base
        kept = len(self._publications) - place
        freed = 0
        while kept > 1 and (kept > max_messages or self.end - self._dropped_end > max_bytes):
            freed += self._publications[place].extra_bytes
            self._publications[place] = _DROPPED
            self._dropped_end = self._ends[place]
            place += 1
            kept -= 1
        self._dropped = self._base + place
        self._ledger[0] -= freed
        if place >= _COMPACT_MESSAGES and place >= kept:
            self._compact(place)

    def _compact(self, place: int) -> None:
        """Cuts the lists: the first `place` of their entries were dropped, and no more."""
        self._base = self._dropped
        self._base_end = self._dropped_end
        del self._publications[:place]
        del self._ends[:place]

    def _drop(self, count: int) -> None:
        """Drops the `count` oldest at once, but never the newest; `trim` has to follow."""
        begin = self._dropped - self._base
        end = min(begin + count, len(self._publications) - 1)
        if self._ledger[0]:
            self._ledger[0] -= sum([publication.extra_bytes for publication in self._publications[begin:end]])
        self._publications[begin:end] = [_DROPPED] * (end - begin)
        self._dropped = self._base + end
        self._dropped_end = self.end_at(self._dropped)
