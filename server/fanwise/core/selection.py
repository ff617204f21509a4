"""A selection: the publications of one log that one filter lets through, each decided once for all clients."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from .filters import LOOK_BACK, Filter
from .log import Log
from .publication import Publication

SELECTION_BYTES = 2_048  # of a selection and its ready group without members, about
_MATCH_BYTES = 16  # of a publication that the filter lets through
_COMPACT = 64  # places that are carried along before the arrays are cut


class Selection:
    """The offsets that a filter lets through. Owns the invariant that each offset in `begun`+1 .. `seen` is decided.

    Stores two integers for each publication that is let through, and none for the others. What the log lets go of, the
    selection lets go of too.

    Attributes:
        filter: The filter.
        log: The log.
        owners: {site of clients: how many of their queues have the selection}; the site is empty where none is bounded.
        begun: Nothing is decided up to this offset: it was published before the filter came.
        seen: The newest offset that is decided.
    """

    __slots__ = (
        "_base_end",
        "_ends",
        "_first",
        "_gone",
        "_lost",
        "_offsets",
        "begun",
        "filter",
        "log",
        "owners",
        "seen",
    )

    def __init__(self, filter: Filter, log: Log) -> None:
        self.filter = filter
        self.log = log
        self.owners: dict[str, int] = {}
        self._begin()

    def take(self, owner: str) -> None:
        """Counts one more queue. O(1)."""
        self.owners[owner] = self.owners.get(owner, 0) + 1

    def let_go(self, owner: str) -> bool:
        """Counts one queue less; returns whether it was the last one. O(1)."""
        left = self.owners.pop(owner) - 1
        if left:
            self.owners[owner] = left
        return not self.owners

    def _begin(self) -> None:
        self.begun = self.seen = self.log.head
        self._offsets = array("q")  # that are let through
        self._ends = array("q")  # payload bytes that were let through up to there
        self._base_end = 0  # what that was before the first
        self._gone = 0  # places at the beginning of the arrays whose publications the log has let go of
        self._lost = 0  # the newest of their offsets
        self._first = self.log.first  # as of the latest look

    def follow(self) -> None:
        """Decides what was published since the latest look. O(that)."""
        log = self.log
        if log.first != self._first:
            self._let_go()
        if self.seen != log.head:
            self._extend(log.pick(range(max(self.seen + 1, log.first), log.head + 1)))
            self.seen = log.head

    def newest(self) -> int:
        """Returns the newest offset that is let through; 0 for none since the filter came. O(what is not decided)."""
        self.follow()
        return self._offsets[-1] if self._offsets else 0

    def _extend(self, publications: list[Publication]) -> None:
        lets_through, offsets, ends = self.filter.lets_through, self._offsets, self._ends
        end = ends[-1] if ends else self._base_end
        for publication in publications:
            if lets_through(publication.tags):
                end += len(publication.payload)
                offsets.append(publication.offset)
                ends.append(end)

    def _let_go(self) -> None:
        """Lets go of what the log has let go of."""
        first, self._first = self.log.first, self.log.first
        if first - 1 > self.seen:  # it went before it was decided: it may have been wanted
            self._lost = first - 1
        gone = bisect_left(self._offsets, first, self._gone)
        if gone > self._gone:
            self._lost = max(self._lost, self._offsets[gone - 1])
            self._gone = gone
        if first <= self._lost:  # the log got older publications back
            self._begin()
        elif self._gone >= _COMPACT and 2 * self._gone >= len(self._offsets):
            self._base_end = self._ends[self._gone - 1]
            del self._offsets[: self._gone], self._ends[: self._gone]
            self._gone = 0

    def reach(self, cursor: int, at_most: int = LOOK_BACK) -> bool:
        """Decides what came after `cursor` and before the filter, at most so much; returns whether all is decided.

        O(that + publications that are let through).
        """
        self.follow()
        low = max(cursor, self.log.first - 1)
        if low >= self.begun:
            return True
        begin = max(low, self.begun - at_most)
        log, lets_through = self.log, self.filter.lets_through
        size = log.end_at(self.begun) - log.end_at(begin)
        older = log.read(begin, max_bytes=size, until=self.begun)
        chosen = [one for one in older if lets_through(one.tags)]
        end = self._ends[self._gone - 1] if self._gone else self._base_end
        ends = array("q")
        for one in reversed(chosen):
            ends.append(end)
            end -= len(one.payload)
        ends.reverse()
        self._offsets[: self._gone] = array("q", [one.offset for one in chosen])
        self._ends[: self._gone] = ends
        self._gone, self._base_end, self.begun = 0, end, begin
        return begin <= low

    def missing_after(self, cursor: int) -> int:
        """Returns the newest offset after `cursor` that was wanted and is not retained; 0 for none. O(1).

        What went before it was decided counts as wanted.
        """
        self.follow()
        if cursor < self.begun and cursor < self._first - 1:
            return max(self._lost, min(self.begun, self._first - 1))
        return self._lost if self._lost > cursor else 0

    def count_after(self, cursor: int) -> int:
        """Returns how many publications after `cursor` are let through; all count that are not decided. O(log n)."""
        self.follow()
        undecided = max(0, self.begun - max(cursor, self._first - 1))
        return len(self._offsets) - self._place(cursor) + undecided

    def bytes_after(self, cursor: int) -> int:
        """Returns payload bytes after `cursor` that are let through; all count that are not decided. O(log n)."""
        self.follow()
        if not self._offsets:
            size = 0
        else:
            place = self._place(cursor)
            size = self._ends[-1] - (self._ends[place - 1] if place else self._base_end)
        low = max(cursor, self._first - 1)
        return size + (self.log.end_at(self.begun) - self.log.end_at(low) if low < self.begun else 0)

    def next_after(self, cursor: int) -> int:
        """Returns the first offset after `cursor` that is let through, or not decided; 0 for none. O(log n)."""
        self.follow()
        low = max(cursor, self._first - 1)
        if low < self.begun:
            return low + 1
        place = self._place(cursor)
        return self._offsets[place] if place < len(self._offsets) else 0

    def before_last(self, count: int, cursor: int) -> int:
        """Returns the offset before the `count` newest that are let through after `cursor`, or `cursor` if less are."""
        place = max(self._place(cursor), len(self._offsets) - count)
        return self._offsets[place] - 1 if len(self._offsets) - place == count else cursor

    def read(self, cursor: int, *, max_bytes: int, until: int | None = None) -> tuple[list[Publication], int]:
        """Returns the next publications that are let through, as `Log.read` does, and the cursor behind them.

        The cursor is `until`, by default the head, where no more are let through up to there. O(what is returned).
        """
        self.follow()
        offsets, ends = self._offsets, self._ends
        begin = self._place(cursor)
        stop = len(offsets) if until is None else bisect_right(offsets, until, begin)
        before = ends[begin - 1] if begin else self._base_end
        fits = min(max(bisect_right(ends, before + max_bytes, begin, stop), begin + 1), stop)
        after = offsets[fits - 1] if fits < stop else self.seen if until is None else until
        return self.log.pick(offsets[begin:fits]), after

    @property
    def cost_bytes(self) -> int:
        """Memory in bytes, estimated. O(1)."""
        return SELECTION_BYTES + _MATCH_BYTES * len(self._offsets)

    def _place(self, cursor: int) -> int:
        return max(self._gone, bisect_right(self._offsets, cursor, self._gone))
