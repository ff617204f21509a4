"""The hub: this process's channels and the clients on them. Synchronous; it decides and never waits."""

from __future__ import annotations

import secrets
from collections import OrderedDict  # a dict whose first entry is found at once, also when many before it have gone
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple

from ..errors import ChannelLimitError
from .channel import BURST_BYTES, BURST_MESSAGES, Channel
from .counters import Counters
from .log import Log
from .publication import Kind, Position, Publication, check_channel_name
from .queue import Gap, Overflow, Queue
from .reasons import GapReason

_SETTLE_EVERY: Final = 64  # publications; looking at each whether somebody is behind would cost a third of publishing
_AGE_STEPS: Final = 8  # looks at a log's age per `history_seconds`: it is kept for an eighth longer at most
_FEW_CHANNELS: Final = 1000  # whose tables are not worth a thought
_AT_ONCE: Final = 2_000  # channels that are forgotten in one go: some milliseconds of work
_EPOCH_BYTES: Final = 6  # random: a channel that is opened anew has the epoch of an old one once in 10**14 times


class Start(NamedTuple):
    """Where a new queue begins."""

    queue: Queue
    position: Position  # what a client is told: the next publication is the one after it, or after the gap
    gap: Gap | None  # what is missing right after the position


class Hub:
    """The channels by name. Owns the invariant that a channel is here while it has a client, and a while longer.

    Args:
        queue_messages: A queue's bound in publications.
        queue_bytes: A queue's bound in payload bytes.
        overflow: What becomes of a client that is further behind.
        history_messages: A log's bound in publications; it is at least `queue_messages`, or windows would show less.
        history_bytes: A log's bound in payload bytes, at least `queue_bytes` likewise.
        history_seconds: How long a channel stays after its last client and its newest publication, and a log retains
            publications but the newest one; an eighth longer at most, and as long as it takes those who are behind.
        max_channels: How many there may be; those without clients make room.
        cohort_clients: How many clients are written to in one go.

    Attributes:
        tally: What is counted.
        charged_bytes: What all channels took in memory at the last audit, about.
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
        overflow: Overflow = Overflow.DISCONNECT,
    ) -> None:
        self.overflow = overflow
        self.queue_messages = queue_messages
        self.queue_bytes = queue_bytes
        self.log_messages, self.log_bytes = max(history_messages, queue_messages), max(history_bytes, queue_bytes)
        self.history_seconds = history_seconds
        self.max_channels = max_channels
        self.tally = Counters()
        self.charged_bytes = 0
        self._cohort_clients = cohort_clients
        self._channels: dict[str, Channel] = {}
        self._peak = 0  # how many channels there were since the tables were last made
        self._grown: dict[Channel, None] = {}  # channels that were published to, until their logs are within bounds
        # {channel without clients: since when}, the longest idle first; those that never had a publication apart: they
        # go first.
        self._idle: OrderedDict[Channel, float] = OrderedDict()
        self._empty: OrderedDict[Channel, float] = OrderedDict()
        # {channel with a log: when its age was looked at}, the longest ago first
        self._aging: OrderedDict[Channel, float] = OrderedDict()

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    def __len__(self) -> int:
        return len(self._channels)

    def channel(self, name: str, *, time: float) -> Channel:
        """The channel called `name`, opened if need be. O(1).

        Raises:
            ChannelNameError: The name is not allowed.
            ChannelLimitError: There are `max_channels`, and all of them have clients.
        """
        return self._channels.get(name) or self._open(check_channel_name(name), time)

    def find(self, name: str) -> Channel | None:
        """The channel called `name`, if there is one. O(1)."""
        return self._channels.get(name)

    def _open(self, name: str, time: float) -> Channel:
        if len(self._channels) >= self.max_channels:
            idle = self._longest_idle()
            if idle is None:
                raise ChannelLimitError(limit_channels=self.max_channels)
            self._forget(idle)
        log = Log(
            name,
            epoch=secrets.token_hex(_EPOCH_BYTES),
            max_messages=self.log_messages + BURST_MESSAGES,
            max_bytes=self.log_bytes + BURST_BYTES,
        )
        channel = Channel(name, log, cohort_clients=self._cohort_clients, tally=self.tally)
        self._channels[name] = channel
        self._peak = max(self._peak, len(self._channels))
        self._rest(channel, time)
        self._charge(channel)
        return channel

    def publish(
        self, channel: Channel, payload: bytes, *, kind: Kind, time: float, key: str | None = None
    ) -> Publication:
        """Appends to the channel's log: that is arrival. O(1), whatever the number of clients."""
        self.tally.publications += 1
        publication = channel.log.append(payload, kind=kind, time=time, key=key)
        self._grown[channel] = None
        if publication.offset % _SETTLE_EVERY == 0 and not channel.behind():
            channel.trim(max_messages=self.log_messages, max_bytes=self.log_bytes)  # nobody needs more: no audit yet
        if not channel.queues:
            channel.mark_swept(publication.offset)
            self._rest(channel, time)
        return publication

    def subscribe(self, channel: Channel, *, since: Position | None = None) -> Start:
        """A new queue that begins after `since`, by default at the head: nothing from before. O(1).

        What the log has let go of is one gap. Of another log than that of `since` it gets all that is retained. The
        queue is as wide as what it begins with: coming back from far is no reason to be slow.
        """
        log = channel.log
        begin, gap = log_begin(log, since)
        cursor = gap.last if gap else begin.offset
        queue = Queue(
            log,
            cursor=cursor,
            max_messages=max(self.queue_messages, log.head - cursor),
            max_bytes=max(self.queue_bytes, log.bytes_after(cursor)),
            overflow=self.overflow,
        )
        self.tally.peak_lag.observe(0)
        channel.queues[queue] = None
        self._idle.pop(channel, None)
        self._empty.pop(channel, None)
        return Start(queue, begin, gap)

    def unsubscribe(self, channel: Channel, queue: Queue, *, time: float) -> None:
        """Lets a queue go that has left its ready group. O(1)."""
        if channel.queues.pop(queue, channel) is channel:  # it has left before; the channel may be gone by now
            return
        channel.sleepers.pop(queue, None)
        if channel.queues:
            return
        channel.mark_swept(channel.log.head)
        channel.groups = {}  # a new one: a sweep may be going over the old one, whose client it is that was broken
        self._rest(channel, time)

    def trim(self, time: float) -> None:
        """Cuts logs to their bounds, but for what came since the last audit. O(channels published to since)."""
        for channel in list(self._grown):
            channel.trim(max_messages=self.log_messages, max_bytes=self.log_bytes)
            self._charge(channel)
            self._aging.setdefault(channel, time)
            if len(channel.log) <= self.log_messages and channel.log.retained_bytes <= self.log_bytes:
                del self._grown[channel]

    def expire(self, time: float) -> None:
        """Forgets channels and publications that have been here for `history_seconds`, some thousands at a time."""
        for book in (self._empty, self._idle):
            for channel, since in list(islice(book.items(), _AT_ONCE)):
                if time - since < self.history_seconds:
                    break
                self._forget(channel)
        for channel, since in list(islice(self._aging.items(), _AT_ONCE)):
            if time - since < self.history_seconds / _AGE_STEPS:
                break
            del self._aging[channel]
            if not channel.behind():
                channel.log.expire(time - self.history_seconds)
                self._charge(channel)
            if len(channel.log) > 1:
                self._aging[channel] = time
        self._shrink()

    def fit(self, budget_bytes: int) -> None:
        """Lets go of history until the channels fit into `budget_bytes`, if that helps.

        Channels without clients are forgotten, the longest idle first; then the costliest logs are halved, each once.
        O(what goes), or O(channels) for the latter.
        """
        while self.charged_bytes > budget_bytes and (idle := self._longest_idle()) is not None:
            self._forget(idle)
        if self.charged_bytes > budget_bytes:
            shrinkable = [channel for channel in self if len(channel.log) > 1]
            for channel in sorted(shrinkable, key=attrgetter("charged_bytes"), reverse=True):
                if self.charged_bytes <= budget_bytes:
                    return
                channel.halve()
                self._charge(channel)

    def _longest_idle(self) -> Channel | None:
        """Who goes first, if somebody has to; those who never had a publication before all others."""
        return next(iter(self._empty or self._idle), None)

    def _shrink(self) -> None:
        """Lets go of the tables that many channels needed who have gone: a dict never shrinks by itself."""
        if self._peak > _FEW_CHANNELS and len(self._channels) < self._peak // 8:
            self._peak = len(self._channels)
            self._channels, self._grown = dict(self._channels), dict(self._grown)
            self._empty, self._idle, self._aging = map(OrderedDict, (self._empty, self._idle, self._aging))

    def _rest(self, channel: Channel, time: float) -> None:
        """Notes that a channel has no clients. It stays for a while: who comes back soon finds the same epoch."""
        self._empty.pop(channel, None)
        book = self._idle if channel.log.head else self._empty
        book.pop(channel, None)  # to the end
        book[channel] = time

    def _charge(self, channel: Channel) -> None:
        cost = channel.cost_bytes
        self.charged_bytes += cost - channel.charged_bytes
        channel.charged_bytes = cost

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.name]
        self.charged_bytes -= channel.charged_bytes
        for books in (self._grown, self._empty, self._idle, self._aging):
            books.pop(channel, None)


def log_begin(log: Log, since: Position | None) -> tuple[Position, Gap | None]:
    """Where a stream begins that is to go on after `since`, and what is missing right behind that."""
    if since is None:
        return Position(log.epoch, log.head), None
    if since.epoch != log.epoch or since.offset > log.head:  # a log that is gone, or a place that it never had
        return Position(log.epoch, 0), Gap(1, log.first - 1, GapReason.EPOCH)
    if since.offset + 1 < log.first:
        return since, Gap(since.offset + 1, log.first - 1, GapReason.HISTORY)
    return since, None
