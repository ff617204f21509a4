"""A channel: a named stream, its log, and the queues onto it. Synchronous."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import FilterLimitError
from .counters import Counters
from .filtered import FilteredGroup
from .filters import MAX_FILTERS, Filter
from .group import ReadyGroup, make_group
from .log import Log
from .namespaces import BURST_BYTES, BURST_MESSAGES, Namespace
from .publication import Encoding
from .queue import Batch, Gap, Queue
from .selection import Selection

# What objects take beside the payloads, measured over many of them with CPython 3.11 (`tests/core/test_channel.py`).
CHANNEL_BYTES = 2_048
PUBLICATION_BYTES = 640


class Channel:
    """A named stream: its log, the queues onto it, and those of them that are ready.

    Args:
        name: Its name.
        log: Its log.
        namespace: The options in force.
        cohort_clients: How many clients are written to in one go.
        tally: The counters of the hub that the channel is in.
    """

    __slots__ = (
        "_audited",
        "_audited_end",
        "_cohort_clients",
        "_swept_end",
        "charged_bytes",
        "counted",
        "counted_end",
        "deliveries",
        "followed",
        "followed_end",
        "groups",
        "let_go",
        "log",
        "most_per_second",
        "name",
        "namespace",
        "outrun",
        "queues",
        "selections",
        "skipped",
        "sleepers",
        "successor",
        "swept",
        "tally",
    )

    def __init__(
        self, name: str, log: Log, namespace: Namespace, *, cohort_clients: int, tally: Counters | None = None
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.tally = tally or Counters()
        self.log = log
        self.queues: dict[Queue, None] = {}  # all of them, in the order in which they came
        # {encoding, or (filter, encoding): its group}
        self.groups: dict[Encoding | tuple[Filter, Encoding], ReadyGroup] = {}
        self.selections: dict[Filter, Selection] | None = None  # None: no client has a filter
        self.sleepers: dict[Queue, Callable[[], None]] = {}  # {queue: wakes its client}, where a sweep cannot write
        self.swept = log.head  # every ready client has, and every sleeper was woken for, the publications up to here
        self._swept_end = log.end
        self.successor: Channel | None = None  # whose log has taken the place of this one's
        self.skipped = 0  # publications that clients did not get and were not closed for, once per client
        self._audited = log.head  # the head at the last audit
        self._audited_end = log.end
        self.followed = log.head  # the head when most clients were seen to follow
        self.followed_end = log.end
        self.let_go = 0  # offset of the newest publication that went for want of memory
        self.outrun = False  # whether the last audit has seen most clients behind: then producers are the cause
        self.charged_bytes = 0  # what the hub's sum has of `cost_bytes`
        self.counted, self.counted_end = log.head, log.end  # as of the latest count of its traffic (`Traffic`)
        self.most_per_second = 0.0  # publications, in the busiest time between two audits
        self.deliveries = 0  # publications given to the sockets of ready clients, once per client
        self._cohort_clients = cohort_clients

    def group(self, encoding: Encoding) -> ReadyGroup:
        """The ready group for `encoding`, made when it is first asked for."""
        group = self.groups.get(encoding)
        if group is None:
            group = self.groups[encoding] = make_group(self.log, encoding, cohort_clients=self._cohort_clients)
        return group

    def group_of(self, selection: Selection, encoding: Encoding) -> ReadyGroup:
        """The ready group of the clients with a filter for `encoding`, made when it is first asked for."""
        key = selection.filter, encoding
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = FilteredGroup(selection, encoding, cohort_clients=self._cohort_clients)
        return group

    def select(self, filter: Filter, owner: str = "", *, most_of_owner: int | None = None) -> Selection:
        """Returns what a filter lets through, for one more queue; `owner` is the site of its client.

        Raises:
            FilterLimitError: The channel's clients have 100 other filters, or those of `owner` have `most_of_owner`.
        """
        self.check_filter(filter, owner, most_of_owner=most_of_owner)
        return self.reselect(filter, owner)

    def reselect(self, filter: Filter, owner: str) -> Selection:
        """Returns what a filter lets through, for one more queue, however many filters there are."""
        if self.selections is None:
            self.selections = {}
        selection = self.selections.get(filter)
        if selection is None:
            selection = self.selections[filter] = Selection(filter, self.log)
        selection.take(owner)
        return selection

    def check_filter(self, filter: Filter, owner: str = "", *, most_of_owner: int | None = None) -> None:
        """Raises what `select` raises. A filter that another client has is free. O(filters)."""
        if self.selections is None or filter in self.selections:
            return
        if len(self.selections) >= MAX_FILTERS:
            raise FilterLimitError(self.name, limit_filters=MAX_FILTERS)
        if not owner or most_of_owner is None or len(self.selections) < most_of_owner:
            return
        if sum(owner in selection.owners for selection in self.selections.values()) >= most_of_owner:
            raise FilterLimitError(self.name, limit_filters=most_of_owner, owner=owner)

    def deselect(self, selection: Selection, owner: str) -> None:
        """Lets go of a selection with its last queue, which is in no ready group any more. O(filters x encodings)."""
        if not selection.let_go(owner) or self.selections is None:
            return
        del self.selections[selection.filter]
        left = {key: group for key, group in self.groups.items() if len(group) or not _is_of(key, selection)}
        self.groups = left  # a new one: a sweep may be going over the old one

    def mark_swept(self, offset: int) -> None:
        """Moves `swept` on to `offset`, or leaves it where it is if it is there or further."""
        if offset > self.swept:
            self.swept = offset
            self._swept_end = self.log.end_at(offset)

    @property
    def first(self) -> int:
        """Offset of the oldest publication that a new client may get; `head + 1` where options allow no history."""
        log = self.log
        return log.first if self.namespace.history_messages else log.head + 1

    @property
    def unswept(self) -> int:
        """Publications that the next sweep has to write."""
        return self.log.head - self.swept

    @property
    def unswept_bytes(self) -> int:
        """Their payload bytes."""
        return self.log.end - self._swept_end

    def bursting(self) -> bool:
        """Returns whether a whole burst has come since the last audit while a client is behind."""
        log = self.log
        if log.head - self._audited < BURST_MESSAGES and log.end - self._audited_end < BURST_BYTES:
            return False
        return self.behind()

    def behind(self) -> bool:
        """Returns whether a client is neither in a ready group nor asleep. O(encodings)."""
        return len(self.queues) > sum(map(len, self.groups.values())) + len(self.sleepers)

    def most_behind(self) -> bool:
        """Returns whether more than one client, and more than half of them, are behind. O(encodings)."""
        behind = self.count_behind()
        return behind > 1 and 2 * behind > len(self.queues)

    def count_behind(self) -> int:
        """Returns how many clients are neither in a ready group nor asleep. O(encodings)."""
        return len(self.queues) - sum(map(len, self.groups.values())) - len(self.sleepers)

    def outruns(self, *, messages: int, size_bytes: int) -> bool:
        """Returns whether more publications or bytes than that came since most clients last followed. O(encodings)."""
        log = self.log
        if log.head - self.followed <= messages and log.end - self.followed_end <= size_bytes:
            return False
        if self.most_behind():
            return True
        self.mark_followed()
        return False

    def mark_followed(self) -> None:
        """Counts from here on what is appended before most clients follow."""
        self.followed, self.followed_end = self.log.head, self.log.end

    def count(self, deliveries: int, *, sent_bytes: int) -> None:
        """Adds up what clients are given."""
        self.deliveries += deliveries
        self.tally.deliveries += deliveries
        self.tally.delivered_bytes += sent_bytes

    def count_batch(self, queue: Queue, batch: Batch) -> None:
        """Adds up what is missing in a batch that `queue` has handed out, and notes how far behind it was."""
        lag = queue.qsize() + len(batch.publications)
        for gap in batch.gaps:
            lag += self.skip(gap)  # never of another log: those gaps are before the first batch
        self.note_lag(queue, lag)

    def skip(self, gap: Gap) -> int:
        """Adds up what a client is not given; returns how many publications."""
        missing = self.tally.gap(gap)
        self.skipped += missing
        return missing

    def note_lag(self, queue: Queue, lag: int) -> None:
        """Keeps the furthest that `queue` has been behind, beyond what it came with. O(1)."""
        if lag > queue.peak and lag > queue.begun:
            self.tally.peak_lag.move(queue.peak, lag)
            queue.peak = lag

    @property
    def cost_bytes(self) -> int:
        """Memory of the channel and its log in bytes, estimated. O(filters)."""
        log = self.log
        chosen = sum([selection.cost_bytes for selection in self.selections.values()]) if self.selections else 0
        return CHANNEL_BYTES + len(log) * PUBLICATION_BYTES + log.retained_bytes + log.extra_bytes + chosen

    def halve(self) -> None:
        """Lets go of the older half of the log, but of nothing that ready clients have not got yet."""
        first = self.log.first
        self.log.trim(max_messages=max(len(self.log) // 2, self.unswept), max_bytes=self.log.retained_bytes)
        if self.log.first > first:
            self.let_go = self.log.first - 1

    def trim(self, *, max_messages: int, max_bytes: int) -> None:
        """Audits the log: cuts it to its bounds, but for what came since the last audit while a client is behind."""
        log = self.log
        if self.behind():
            max_messages += log.head - self._audited
            max_bytes += log.end - self._audited_end
        log.trim(max_messages=max_messages, max_bytes=max_bytes)
        self.outrun = self.most_behind()
        if not self.outrun:
            self.mark_followed()
        self._audited, self._audited_end = log.head, log.end

    def crowded(self, messages: int, size_bytes: int) -> bool:
        """Returns whether at least that many publications, or payload bytes, are unswept. O(1)."""
        log = self.log
        return log.head - self.swept >= messages or log.end - self._swept_end >= size_bytes


def _is_of(key: Encoding | tuple[Filter, Encoding], selection: Selection) -> bool:
    return isinstance(key, tuple) and key[0] == selection.filter
