"""The ready group: a channel's clients that are up to date, in cohorts that share a cursor.

A sweep writes one slice to a whole cohort without anything running in between, and then moves the cohort's cursor
once. A client that leaves therefore stands exactly where its cohort stands, whenever it leaves. A sweep may give the
loop back between any two cohorts. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

from .encoding import join
from .lease import Lease
from .log import Log
from .publication import Encoding, Publication
from .queue import Queue, SharedCursor
from .reasons import CloseReason


class Member(Protocol):
    """A client in a ready group, as sweeps call it."""

    @property
    def lease(self) -> Lease | None:
        """Its right to write to its socket; None where the sink takes no bytes."""

    def write(self, data: bytes) -> None:
        """Writes a slice through the client's transport, whole: for clients without a file descriptor."""

    def fall_behind(self, queue: Queue, cursor: int, rest: memoryview) -> None:
        """Leaves the group, its socket being full: `queue` goes back to `cursor`, the transport has to take `rest`."""

    def leave(self) -> None:
        """Leaves all its groups, and is served in turns until it is up to date."""

    def broken(self, queue: Queue, cursor: int, reason: CloseReason) -> None:
        """Leaves the group, its socket being broken for `reason`: `queue` goes back to `cursor`."""


class Cohort(SharedCursor):
    """Members that are written to in one go. Owns the invariant that all of them have everything up to `cursor`."""

    __slots__ = ("by_fd", "by_queue")

    def __init__(self, cursor: int) -> None:
        super().__init__(cursor)
        self.by_fd: dict[int, tuple[Queue, Member]] = {}  # {file descriptor: the queue it serves and its client}
        self.by_queue: dict[Queue, Member] = {}  # {queue: its client}, for those without a descriptor

    def __len__(self) -> int:
        return len(self.by_fd) + len(self.by_queue)

    def members(self) -> list[Member]:
        """Returns all members. O(members)."""
        return [*(member for _, member in self.by_fd.values()), *self.by_queue.values()]

    def absorb(self, other: Cohort) -> None:
        """Takes in all members of `other`, which stands at the same cursor. O(len(other))."""
        for queue, _ in other.by_fd.values():
            queue.follow(self)
        for queue in other.by_queue:
            queue.follow(self)
        self.by_fd.update(other.by_fd)
        self.by_queue.update(other.by_queue)


class Slice(NamedTuple):
    """The bytes of consecutive publications, to be written at once."""

    before: int  # the cursor of those who need it
    after: int  # their cursor when they have it
    data: bytes
    time: float  # when the oldest of them was appended
    messages: int  # how many publications they are


_NO_SLICE: Final = Slice(0, 0, b"", 0.0, 0)


class Cut(NamedTuple):
    """Where a client stands that got a part of a slice."""

    cursor: int
    rest: memoryview  # of the frame that was begun
    missing: int  # publications that were not begun


class ReadyGroup:
    """A channel's up-to-date clients of one encoding. Owns its cohorts and the slice that they are sent.

    Args:
        log: The channel's.
        encoding: Makes the bytes of a publication.
        cohort_clients: How many clients are written to in one go.
    """

    __slots__ = ("_cohort_clients", "_cohorts", "_encoding", "_log", "_members", "_slice")

    def __init__(self, log: Log, encoding: Encoding, *, cohort_clients: int) -> None:
        self._log = log
        self._encoding = encoding
        self._cohort_clients = cohort_clients
        self._cohorts: list[Cohort] = []
        self._members = 0
        self._slice = _NO_SLICE  # the one made last

    def __len__(self) -> int:
        return self._members

    def __iter__(self) -> Iterator[Cohort]:
        """The cohorts; they may come and go between two steps only if the iteration is started again."""
        return iter(self._cohorts)

    def due(self) -> Iterable[Cohort]:
        """Returns the cohorts that a sweep has to look at."""
        return self._cohorts

    def join(self, queue: Queue, member: Member, *, lease: Lease) -> None:
        """Takes in a client whose transport is open and empty; the client goes on from its queue's cursor. O(1).

        Raises:
            AssertionError: Its lease has ended.
        """
        fd = lease.hold()
        last = self._cohorts[-1] if self._cohorts else None
        if last is None or last.cursor != queue.cursor or len(last) >= self._cohort_clients:
            last = Cohort(queue.cursor)
            self._cohorts.append(last)
        queue.follow(last)
        self._members += 1
        if fd is None:
            last.by_queue[queue] = member
        else:
            last.by_fd[fd] = (queue, member)

    def leave(self, queue: Queue, *, lease: Lease) -> None:
        """Lets a client go; its queue stands where its cohort stood. O(1)."""
        cohort = queue.shared
        if not isinstance(cohort, Cohort):
            return
        lease.holders -= 1
        if lease.descriptor is None:
            del cohort.by_queue[queue]
        else:
            del cohort.by_fd[lease.descriptor]
        self._members -= 1
        queue.unfollow()

    def wave(self, first: Cohort, *, at_most: int) -> list[Cohort]:
        """Returns `first` and the cohorts right behind it at its cursor, together of up to `at_most` clients.

        Cohorts whose clients have no descriptors stay alone. O(cohorts).
        """
        wave, size = [first], len(first)
        for cohort in islice(self._cohorts, self._cohorts.index(first) + 1, None):
            size += len(cohort)
            if size > at_most or cohort.cursor != first.cursor or cohort.by_queue or first.by_queue:
                break
            wave.append(cohort)
        return wave

    def slice_after(self, cursor: int, *, until: int, max_bytes: int) -> Slice:
        """Returns the next slice for a cohort at `cursor`. Joined once for all cohorts at that cursor."""
        if self._slice.before != cursor or not cursor < self._slice.after <= until:
            batch = self._log.read(cursor, max_bytes=max_bytes, until=until)
            count = len(batch)
            self._slice = Slice(cursor, cursor + count, join(batch, self._encoding), batch[0].time, count)
        return self._slice

    def read(self, part: Slice) -> list[Publication]:
        """Returns the publications of a slice. O(them)."""
        return self._log.read(part.before, max_bytes=self._log.end, until=part.after)

    def cut(self, part: Slice, taken: int) -> Cut:
        """Returns where a client stands whose socket took only `taken` bytes.

        Less than one frame then waits in the transport; the rest of the slice stays in the log for the queue.
        O(publications in the slice).
        """
        cursor, end = part.before, 0
        for publication in self.read(part):
            if end >= taken:
                break
            cursor = publication.offset
            end += len(publication.encoded(self._encoding))
        return Cut(cursor, memoryview(part.data)[taken:end], self._count_after(part, cursor))

    def _count_after(self, part: Slice, cursor: int) -> int:
        """Returns how many publications of a slice come after a cursor."""
        return part.after - cursor

    def tidy(self) -> None:
        """Forgets the slice, and merges cohorts when there are more than twice as many as it takes. O(1), amortised.

        Must not be called from inside a sweep of this group.
        """
        self._slice = _NO_SLICE
        if len(self._cohorts) < 2 + 2 * self._members // self._cohort_clients:
            return
        kept: list[Cohort] = []
        for cohort in self._cohorts:
            last = kept[-1] if kept else None
            if last and last.cursor == cohort.cursor and len(last) + len(cohort) <= self._cohort_clients:
                last.absorb(cohort)
            elif len(cohort):
                kept.append(cohort)
        self._cohorts = kept


class CostlyGroup(ReadyGroup):
    """A ready group whose bytes take long to make: its slices are short, so that a sweep looks at the clock in time.

    Args:
        slice_bytes: Payload of one slice.
    """

    def __init__(self, log: Log, encoding: Encoding, *, cohort_clients: int, slice_bytes: int) -> None:
        super().__init__(log, encoding, cohort_clients=cohort_clients)
        self._slice_bytes = slice_bytes

    def slice_after(self, cursor: int, *, until: int, max_bytes: int) -> Slice:
        """Returns the next slice for a cohort at `cursor`, of at most `slice_bytes`."""
        return super().slice_after(cursor, until=until, max_bytes=min(max_bytes, self._slice_bytes))


def make_group(log: Log, encoding: Encoding, *, cohort_clients: int) -> ReadyGroup:
    """Returns a new ready group; a `CostlyGroup` for an encoding with an attribute `slice_bytes`."""
    slice_bytes = getattr(encoding, "slice_bytes", None)
    if slice_bytes is None:
        return ReadyGroup(log, encoding, cohort_clients=cohort_clients)
    return CostlyGroup(log, encoding, cohort_clients=cohort_clients, slice_bytes=slice_bytes)
