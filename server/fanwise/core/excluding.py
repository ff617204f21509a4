"""Queues whose client does not get some publications of the log, as they are its own; nothing is missing there.

Most exclusions need no such queue: a client that has everything before a publication is moved past it. These queues are
for clients that have still to get something before.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import TypeAlias

from .filtered import FilteredQueue
from .queue import Batch, Gap, Queue


class ExcludingQueue(Queue):
    """A queue that passes over some offsets. Owns the invariant that the one right after its cursor is none of them.

    Attributes:
        excluded: The offsets after the cursor that are passed over, ascending. At most as many as the log retains.
    """

    __slots__ = ("excluded",)

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.log, queue.cursor, queue.maxsize, queue.max_bytes, queue.overflow)
        self.excluded: deque[int] = deque()

    def get_nowait(self, *, max_bytes: int) -> Batch:
        """Takes the next publications without those that are excluded: they are neither in the batch nor in a gap."""
        return _others(self, super().get_nowait(max_bytes=max_bytes))


class ExcludingFilteredQueue(FilteredQueue):
    """A queue of a client with a filter that passes over some offsets, as an `ExcludingQueue` does.

    Attributes:
        excluded: The offsets after the cursor that are passed over, ascending. At most as many as the log retains.
    """

    __slots__ = ("excluded",)

    def __init__(self, queue: FilteredQueue) -> None:
        super().__init__(queue.selection, queue.cursor, queue.maxsize, queue.max_bytes, queue.overflow)
        self.owner = queue.owner
        self.excluded: deque[int] = deque()

    def get_nowait(self, *, max_bytes: int) -> Batch:
        """Takes the next publications that are wanted, without those that are excluded."""
        return _others(self, super().get_nowait(max_bytes=max_bytes))


Excluding: TypeAlias = ExcludingQueue | ExcludingFilteredQueue


def excluding(queue: Queue) -> Excluding:
    """Returns a queue that can exclude, to take the place of `queue`; `queue` itself if it can."""
    if isinstance(queue, Excluding):
        return queue
    if queue.shared is not None:
        raise AssertionError("a queue in a ready group cannot be replaced")
    new = ExcludingFilteredQueue(queue) if isinstance(queue, FilteredQueue) else ExcludingQueue(queue)
    new.joined, new.begun, new.peak = queue.joined, queue.begun, queue.peak
    return new


def exclude(queue: Excluding, offset: int) -> None:
    """Has a queue pass over `offset`, which is above all others that it passes over."""
    while queue.excluded and queue.excluded[0] < queue.log.first:  # the log has let them go
        queue.excluded.popleft()
    queue.excluded.append(offset)
    _pass_over(queue)


def _others(queue: Excluding, batch: Batch) -> Batch:
    """Returns what is left of a batch that `queue` has just taken."""
    if not queue.excluded:
        return batch
    passed = set(takewhile(lambda offset: offset <= queue.cursor, queue.excluded))
    _pass_over(queue)
    if not passed:
        return batch
    left = [one for one in batch.publications if one.offset not in passed]
    return Batch(left, [part for gap in batch.gaps for part in _without(gap, passed)])


def _pass_over(queue: Excluding) -> None:
    """Forgets what is behind the cursor, and moves the cursor past what comes right after it."""
    excluded = queue.excluded
    while excluded and excluded[0] <= queue.cursor + 1:
        queue.advance(max(queue.cursor, excluded.popleft()))


def _without(gap: Gap, excluded: set[int]) -> list[Gap]:
    """Returns what is left of a gap. O(offsets of the gap that are excluded)."""
    parts, first = [], gap.first
    for offset in sorted(excluded):
        if gap.first <= offset <= gap.last:
            if offset > first:
                parts.append(gap._replace(first=first, last=offset - 1))
            first = offset + 1
    if first <= gap.last:
        parts.append(gap._replace(first=first))
    return parts
