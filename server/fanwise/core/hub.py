"""The hub: this process's channels and the clients on them. Synchronous; it decides and never waits."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ..errors import ChannelFullError, ChannelLimitError, NoChannelError
from .channel import Channel
from .counters import Counters
from .filtered import FilteredQueue
from .filters import ADDRESS_FILTERS, Filter, Tags
from .log import Log
from .namespaces import Defaults, Namespace, Namespaces
from .options import ChannelOptions
from .programs import program_of
from .publication import Beginning, Kind, Last, Position, Publication, check_channel_name
from .queue import Gap, Overflow, Queue
from .reasons import GapReason
from .retention import Retention
from .selection import Selection

BOUNDS: Final = (  # arguments of a hub that say what holds for its channels
    *("queue_messages", "queue_bytes", "forgive_seconds", "history_messages", "history_bytes", "history_seconds"),
    *("max_channels", "address_filters", "cohort_clients", "channels"),
)
_SETTLE_EVERY: Final = 64  # publications; looking at each whether a client is behind would cost a third of publishing
_HISTORY: Final = GapReason.HISTORY  # as a global: CPython 3.11 makes a call of each attribute of an enum
_EPOCH_BYTES: Final = 6  # random: a channel that is opened anew has the epoch of an old one once in 10**14 times


class Start(NamedTuple):
    """The beginning of a new queue.

    Attributes:
        channel: The queue's channel.
        queue: The queue, which is one of the channel's.
        position: The next publication is the one after this position, or after the gap.
        gap: The publications that are missing right after the position; None for none.
        recovered: Whether nothing is missing after the position that was asked for; None if none was asked for.
    """

    channel: Channel
    queue: Queue
    position: Position
    gap: Gap | None
    recovered: bool | None


class Hub:
    """The channels by name. Owns the invariant that a channel with a client is here, and that its name is its own.

    Args:
        queue_messages: A queue's bound in publications.
        queue_bytes: A queue's bound in payload bytes.
        overflow: The policy for a client that is further behind.
        forgive_seconds: A queue's bound in age: that of the oldest publication that its client has not got. None for
            none. Audits look at it (`Log.age`).
        history_messages: A log's bound in publications; it is at least `queue_messages`, or windows would show less.
        history_bytes: A log's bound in payload bytes; it is at least `queue_bytes`.
        history_seconds: How long a channel stays after its last client and its newest publication, and a log retains
            publications other than the newest: an eighth longer at most, and as long as clients that are behind need.
        max_channels: How many there may be; those without clients make room.
        address_filters: How many different filters the clients of one address may have on a channel.
        cohort_clients: How many clients are written to in one go.
        channels: {pattern: options of the channels whose names match}; the first match wins.

    Attributes:
        namespaces: The options in force, by the names of channels.
        tally: The counters of this hub.
        retention: The books on channels and publications that stay.
        retired: The channels that have a successor, until their last client has moved to it.
        detours: Those channels, and the queues that pass over publications: their clients have more to do than to catch
            up with sweeps.
    """

    def __init__(
        self,
        *,
        queue_messages: int,
        queue_bytes: int,
        history_messages: int,
        history_bytes: int,
        history_seconds: float,
        cohort_clients: int,
        max_channels: int = 100_000,
        address_filters: int = ADDRESS_FILTERS,
        overflow: Overflow = Overflow.DISCONNECT,
        forgive_seconds: float | None = None,
        channels: Mapping[str, ChannelOptions] | None = None,
    ) -> None:
        if forgive_seconds is not None and not forgive_seconds > 0:
            raise ValueError(f"forgive_seconds={forgive_seconds} is not above 0; None is for no bound")
        self.overflow = overflow
        self.forgive_seconds = forgive_seconds
        self.queue_messages = queue_messages
        self.queue_bytes = queue_bytes
        self.max_channels = max_channels
        self.address_filters = address_filters
        self.tally = Counters()
        self._cohort_clients = cohort_clients
        self._channels: dict[str, Channel] = {}
        self.retired: dict[Channel, None] = {}
        self.detours: dict[Channel | Queue, None] = {}
        history = (history_messages, history_bytes, history_seconds)
        defaults = Defaults(queue_messages, queue_bytes, *history, overflow, forgive_seconds)
        self.namespaces = Namespaces(channels or {}, defaults)
        self.retention = Retention(self._channels, self.namespaces)
        self._grown = self.retention.grown

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    def __len__(self) -> int:
        return len(self._channels)

    def channel(self, name: str, time: float) -> Channel:
        """The channel called `name`, opened if need be. O(1).

        Raises:
            ChannelNameError: The name is not allowed.
            ChannelLimitError: There are `max_channels`, and all of them have clients.
            NoChannelError: Options say that channels need an entry with the whole name, and this one has none.
        """
        return self._channels.get(name) or self._open(check_channel_name(name), time)

    def find(self, name: str) -> Channel | None:
        """The channel called `name`, if there is one. O(1)."""
        return self._channels.get(name)

    def adopt(self, name: str, *, epoch: str, start: int, time: float) -> Channel:
        """Opens the channel called `name`, which is not open, under an epoch that was given elsewhere. O(1).

        Its next publication is the one after the offset `start`. Raises what `channel` raises.
        """
        return self._open(check_channel_name(name), time, epoch=epoch, start=start)

    def succeed(self, channel: Channel, *, epoch: str, start: int, time: float) -> Channel:
        """Returns a new channel in the place of `channel`, whose log goes on elsewhere. O(channels that are retired).

        The clients of `channel` stay on it until each has everything, and has been moved (`follow`).
        """
        successor = self._make(channel.name, epoch, start, channel.namespace)
        self.retention.replaced(channel)
        self._channels[channel.name] = successor
        self.retention.opened(successor, time=time)
        for older in (*self.retired, channel):
            if older.name == channel.name:
                older.successor = successor
        if channel.queues:
            self.retired[channel] = self.detours[channel] = None
        else:
            self.retention.released(channel)
        return successor

    def follow(self, channel: Channel, queue: Queue, *, time: float) -> Start:
        """Moves a client that has everything of a retired channel to its successor: returns its new queue. O(1).

        The gap is what the new log lacks. In the epoch of the old one that is known by its offsets.
        """
        log = channel.log
        since = Position(log.epoch, queue.cursor)
        successor = self.channel(channel.name, time)
        old, owner = queue.selection, queue.owner
        selection = None if old is None else successor.reselect(old.filter, owner)  # it was here before
        start = self._begin(successor, since, selection, GapReason.BACKPLANE)
        if isinstance(start.queue, FilteredQueue):
            start.queue.owner = owner
        self.unsubscribe(channel, queue, time=time)
        return start

    def _open(self, name: str, time: float, *, epoch: str | None = None, start: int = 0) -> Channel:
        if len(self._channels) >= self.max_channels and not self.retention.make_room():
            raise ChannelLimitError(limit_channels=self.max_channels)
        namespace = self.check_allowed(name)
        if namespace is self.namespaces.default and program_of(name) is not None:
            namespace = self.namespaces.brief
        channel = self._channels[name] = self._make(name, epoch or secrets.token_hex(_EPOCH_BYTES), start, namespace)
        self.retention.opened(channel, time=time)
        return channel

    def check_allowed(self, name: str) -> Namespace:
        """Returns the options in force for a channel; raises NoChannelError if they let nobody open it."""
        namespace = self.namespaces.of(name)
        if namespace.options.create == "nobody":
            raise NoChannelError(name)
        return namespace

    def _make(self, name: str, epoch: str, start: int, space: Namespace) -> Channel:
        log = Log(name, epoch=epoch, max_messages=space.most_messages, max_bytes=space.most_bytes, start=start)
        return Channel(name, log, space, cohort_clients=self._cohort_clients, tally=self.tally)

    def publish(
        self, channel: Channel, data: bytes, kind: Kind, time: float, key: str | None = None, tags: Tags | None = None
    ) -> Publication:
        """Appends to the channel's log: that is arrival. O(1), whatever the number of clients."""
        self.tally.publications += 1
        publication = channel.log.append(data, kind, time, key, tags)
        self._grown[channel] = None
        if publication.offset % _SETTLE_EVERY == 0:
            self.retention.settle(channel)
        if not channel.queues:
            channel.mark_swept(publication.offset)
            self.retention.idle(channel, time=time)
        return publication

    def publish_all(self, channel: Channel, data: Sequence[bytes], *, kind: Kind, time: float) -> None:
        """Appends several publications to the channel's log, like `publish`. O(publications)."""
        log = channel.log
        before = log.head
        self.tally.publications += len(data)
        log.extend(data, kind=kind, time=time)
        self._grown[channel] = None
        if log.head // _SETTLE_EVERY != before // _SETTLE_EVERY:
            self.retention.settle(channel)
        if not channel.queues:
            channel.mark_swept(log.head)
            self.retention.idle(channel, time=time)

    def subscribe(
        self,
        name: str,
        since: Beginning | None = None,
        filter: Filter | None = None,
        *,
        time: float,
        owner: str = "",
    ) -> Start:
        """Opens the channel called `name` if need be, with a new queue after `since`, by default at the head. O(1).

        Publications that the log has let go of are one gap. A position of another log gets everything that is retained.
        The queue is at least as wide as its first lag: a client that resumes from far behind is not slow for that. A
        filter counts at `owner`, the site of the client.

        Raises:
            ChannelNameError: The name is not allowed.
            ChannelFullError: The channel has as many clients as options allow.
            ChannelLimitError: There are `max_channels`, and all of them have clients.
            FilterLimitError: The channel's clients have too many other filters.
            NoChannelError: Options say that channels need an entry with the whole name, and this one has none.
        """
        channel = self.channel(name, time)
        space = channel.namespace
        if not space.is_open and len(channel.queues) >= space.max_subscribers:
            raise ChannelFullError(name, limit_clients=len(channel.queues))
        first = None if space.is_open else channel.first
        if filter is None:
            return self._begin(channel, since, None, _HISTORY, first)
        selection = channel.select(filter, owner, most_of_owner=self.address_filters)
        start = self._begin(channel, since, selection, _HISTORY, first)
        assert isinstance(start.queue, FilteredQueue)
        start.queue.owner = owner
        return start

    def _begin(
        self,
        channel: Channel,
        since: Beginning | None,
        selection: Selection | None,
        missing: GapReason,
        first: int | None = None,
    ) -> Start:
        """Gives a channel a new queue after `since`, with nothing from before offset `first`. O(1).

        With a selection the queue is onto that.
        """
        log, space = channel.log, channel.namespace
        messages, size = space.queue_messages, space.queue_bytes
        gap = recovered = None
        if since is None:
            begin, cursor = Position(log.epoch, log.head), log.head
        elif isinstance(since, Last):
            begin = log_last(log, since, first) if selection is None else last_of(selection, since, first)
            cursor = begin.offset
        else:
            begin, gap = log_begin(log, since, missing, first)
            recovered = gap is None
            cursor = begin.offset if gap is None else gap.last
        if cursor == log.head:
            pass
        elif selection is None:
            messages, size = max(messages, log.head - cursor), max(size, log.bytes_after(cursor))
        else:
            messages, size = max(messages, selection.count_after(cursor)), max(size, selection.bytes_after(cursor))
        if selection is None:
            queue = Queue(log, cursor, messages, size, space.overflow)
        else:
            queue = FilteredQueue(selection, cursor, messages, size, space.overflow)
        self.tally.peak_lag.observe_least()
        channel.queues[queue] = None
        self.retention.busy(channel)
        if gap is not None:
            channel.skip(gap)
        return Start(channel, queue, begin, gap, recovered)

    def replace(self, channel: Channel, old: Queue, new: Queue) -> None:
        """Has a queue take the place of another one, which is in no ready group. O(1)."""
        del channel.queues[old]
        channel.queues[new] = None

    def unsubscribe(self, channel: Channel, queue: Queue, *, time: float) -> None:
        """Lets a queue go that has left its ready group. O(1)."""
        if channel.queues.pop(queue, channel) is channel:  # it has left before; the channel may be gone by now
            return
        if self.detours:
            self.detours.pop(queue, None)
        channel.sleepers.pop(queue, None)
        if queue.selection is not None:
            channel.deselect(queue.selection, queue.owner)
        if channel.queues:
            return
        self.detours.pop(channel, None)
        channel.mark_swept(channel.log.head)
        channel.groups = {}  # a new one: a sweep may be going over the old one, whose client it is that was broken
        if channel.successor is None:
            self.retention.idle(channel, time=time)
        elif self.retired.pop(channel, channel) is None:
            self.retention.released(channel)


def log_begin(
    log: Log, since: Position, missing: GapReason = GapReason.HISTORY, first: int | None = None
) -> tuple[Position, Gap | None]:
    """Returns the position at which a stream after `since` begins, and the gap right behind it.

    The gap has the reason `missing` where nothing from before offset `first`, by default the log's, is given.
    """
    if first is None:
        first = log.first
    if since.epoch != log.epoch or since.offset > log.head:  # a log that is gone, or a place that it never had
        return Position(log.epoch, 0), Gap(1, first - 1, GapReason.EPOCH)
    if since.offset + 1 < first:
        return since, Gap(since.offset + 1, first - 1, missing)
    return since, None


def log_last(log: Log, last: Last, first: int | None = None) -> Position:
    """Returns the position before the newest publications, from offset `first` on, by default the log's."""
    return Position(log.epoch, max(log.head - last.number, (log.first if first is None else first) - 1))


def last_of(selection: Selection, last: Last, first: int | None = None) -> Position:
    """Returns the position before the newest publications that a filter lets through; `first` as for `log_last`."""
    log = selection.log
    earliest = max(log.head - last.among, (log.first if first is None else first) - 1)
    selection.reach(earliest)
    return Position(log.epoch, selection.before_last(last.number, max(earliest, selection.begun)))
