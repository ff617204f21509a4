"""Queues and ready groups of clients with a filter: cursors onto the channel's log, like all others.

What a filter does not let through is passed over: it is no lag, fills no queue, is no gap and is written to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .encoding import join
from .group import Cohort, ReadyGroup, Slice
from .publication import Encoding, Publication
from .queue import Batch, Gap, Overflow, Queue, newest_of_keys
from .selection import Selection

# As globals: CPython 3.11 makes a call of each attribute of an enum.
_DISCONNECT, _DROP_OLDEST = Overflow.DISCONNECT, Overflow.DROP_OLDEST


class FilteredQueue(Queue):
    """A window onto those publications of a log that a selection lets through. Only they count.

    Owns the cursor as `Queue` does: what was handed out, what was skipped and what was not wanted tile the log.

    Attributes:
        selection: What the client's filter lets through.
        owner: The client's site, at which the selection counts.
    """

    __slots__ = ("owner", "selection")

    def __init__(
        self, selection: Selection, cursor: int, max_messages: int, max_bytes: int, overflow: Overflow
    ) -> None:
        super().__init__(selection.log, cursor, max_messages, max_bytes, overflow)
        self.selection: Selection = selection
        self.owner = ""
        self.begun = selection.count_after(cursor)

    def qsize(self) -> int:
        """The lag: publications after the cursor that are wanted, or of which that is not known yet."""
        return self.selection.count_after(self.cursor)

    def qsize_bytes(self) -> int:
        """The lag in payload bytes, as far as the log retains them."""
        return self.selection.bytes_after(self.cursor)

    def empty(self) -> bool:
        """Whether the client has everything that is wanted."""
        return not self.selection.next_after(self.cursor)

    def oldest_time(self) -> float | None:
        """When the first publication that the client has not got was appended; None for none."""
        following = self.selection.next_after(self.cursor)
        return self.log.time_at(following) if following else None

    def overflowed(self) -> bool:
        """Whether the client is further behind than its window is wide or old, or than the log reaches back."""
        selection, cursor = self.selection, self.cursor
        return (
            selection.count_after(cursor) > self.maxsize
            or selection.bytes_after(cursor) > self.max_bytes
            or selection.missing_after(cursor) > 0
            or self.joined < selection.next_after(cursor) <= self.log.stale
        )

    def get_nowait(self, *, max_bytes: int) -> Batch:
        """Takes the next publications as `Queue.get_nowait` does; none where the next thousands are not wanted.

        Where the filter has not looked at what the log retains, each call looks at some thousands. Gaps name the
        first and the last publication that is missing; what is not wanted between them counts for nothing.
        """
        if self.shared is not None:
            raise AssertionError("a queue in a ready group is read by the sweep")
        selection, before = self.selection, self._cursor
        if not selection.reach(before):
            return Batch([], [])
        missing = selection.missing_after(before)
        if self.overflow is _DISCONNECT:
            if not missing:
                return Batch(self._read(max_bytes), [])
            self._cursor = missing
            return Batch([], [Gap(before + 1, missing)])
        lost = [Gap(before + 1, missing)] if missing else []
        if not self.overflowed():
            return Batch(self._read(max_bytes), lost)
        self._cursor = max(before, missing)
        batch = self._newest_that_fit(max_bytes) if self.overflow is _DROP_OLDEST else self._latest(max_bytes)
        return Batch(batch.publications, [*lost, *batch.gaps])

    def _read(self, max_bytes: int) -> list[Publication]:
        publications, self._cursor = self.selection.read(self._cursor, max_bytes=max_bytes)
        return publications

    def _window(self) -> list[Publication]:
        """All that the log retains after the cursor."""
        return self.selection.read(self._cursor, max_bytes=self.log.max_bytes)[0]

    def _newest_that_fit(self, max_bytes: int) -> Batch:
        window = self._window()
        first = max(0, len(window) - self.maxsize)
        size = sum(len(one.payload) for one in window[first:])
        last = len(window) - 1  # the newest always fits
        while first < last and (size > self.max_bytes or self.joined < window[first].offset <= self.log.stale):
            size -= len(window[first].payload)
            first += 1
        if first:
            self._cursor = window[first - 1].offset
        return Batch(self._read(max_bytes), _runs(window[:first], []))

    def _latest(self, max_bytes: int) -> Batch:
        window = self._window()
        if not window:
            return Batch(self._read(max_bytes), [])
        taken = newest_of_keys(window, max_bytes)
        self._cursor = taken[-1].offset
        return Batch(taken, _runs([one for one in window if one.offset <= self._cursor], taken))


def _runs(window: Sequence[Publication], taken: Sequence[Publication]) -> list[Gap]:
    """Returns the gaps of a window of which only `taken` is handed out: one for each run of publications without."""
    gaps, given = [], {one.offset for one in taken}
    run: list[int] = []
    for offset in [*(one.offset for one in window), 0]:
        if offset and offset not in given:
            run.append(offset)
        elif run:
            gaps.append(Gap(run[0], run[-1], unwanted=run[-1] - run[0] + 1 - len(run)))
            run = []
    return gaps


class FilteredGroup(ReadyGroup):
    """A channel's up-to-date clients of one encoding and one filter.

    Args:
        selection: What the filter lets through.
        encoding: Makes the bytes of a publication.
        cohort_clients: How many clients are written to in one go.
    """

    __slots__ = ("_selection", "_slice_bytes")

    def __init__(self, selection: Selection, encoding: Encoding, *, cohort_clients: int) -> None:
        super().__init__(selection.log, encoding, cohort_clients=cohort_clients)
        self._selection = selection
        self._slice_bytes: int | None = getattr(encoding, "slice_bytes", None)  # of an encoding that takes long

    def due(self) -> Iterable[Cohort]:
        """Returns the cohorts for which something was let through; the others move to the head of the log."""
        newest = self._selection.newest()
        waiting = []
        for cohort in self._cohorts:
            if cohort.cursor < newest:
                waiting.append(cohort)
            else:
                cohort.cursor = self._log.head
        return waiting

    def slice_after(self, cursor: int, *, until: int, max_bytes: int) -> Slice:
        """Returns the next slice for a cohort at `cursor`, without bytes where nothing up to `until` is wanted."""
        part = self._slice
        if part.before != cursor or not cursor < part.after <= until:
            most = max_bytes if self._slice_bytes is None else min(max_bytes, self._slice_bytes)
            batch, after = self._selection.read(cursor, max_bytes=most, until=until)
            data = join(batch, self._encoding) if batch else b""
            part = self._slice = Slice(cursor, after, data, batch[0].time if batch else 0.0, len(batch))
        return part

    def _count_after(self, part: Slice, cursor: int) -> int:
        """Returns how many publications of a slice come after a cursor. O(them)."""
        return sum(one.offset > cursor for one in self.read(part))

    def read(self, part: Slice) -> list[Publication]:
        """Returns the publications of a slice. O(them)."""
        return self._selection.read(part.before, max_bytes=self._log.end, until=part.after)[0]
