"""The hub: this process's channels and the clients on them. Synchronous; it decides and never waits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from .group import ReadyGroup
from .log import Log
from .publication import Encoding, Publication, check_channel_name
from .queue import Overflow, Queue

# What a log may retain beyond its bounds between two audits, for clients that a burst has put behind: they are judged
# by time, and most bursts are over sooner. An empty publication takes about half a kilobyte.
BURST_MESSAGES = 65_536
BURST_BYTES = 16_777_216
_SETTLE_EVERY = 64  # publications; looking at each whether somebody is behind would cost a third of publishing


class Channel:
    """A named stream: its log, the queues onto it, and those of them that are ready."""

    __slots__ = (
        "_audited",
        "_audited_end",
        "_cohort_clients",
        "_swept_end",
        "deliveries",
        "groups",
        "log",
        "name",
        "queues",
        "skipped",
        "sleepers",
        "swept",
    )

    def __init__(self, name: str, log: Log, *, cohort_clients: int) -> None:
        self.name = name
        self.log = log
        self.queues: dict[Queue, None] = {}  # all of them, in the order in which they came
        self.groups: dict[Encoding, ReadyGroup] = {}
        self.sleepers: dict[Queue, Callable[[], None]] = {}  # {queue: wakes its client}, where a sweep cannot write
        self.swept = log.head  # every ready client has, and every sleeper was woken for, the publications up to here
        self._swept_end = log.end
        self.skipped = 0  # publications that clients did not get and were not closed for, once per client
        self._audited = log.head  # the head at the last audit
        self._audited_end = log.end
        self.deliveries = 0  # publications given to the sockets of ready clients, once per client
        self._cohort_clients = cohort_clients

    def group(self, encoding: Encoding) -> ReadyGroup:
        """The ready group for `encoding`, made when it is first asked for."""
        group = self.groups.get(encoding)
        if group is None:
            group = self.groups[encoding] = ReadyGroup(self.log, encoding, cohort_clients=self._cohort_clients)
        return group

    def mark_swept(self, offset: int) -> None:
        """Moves `swept` on to `offset`, or leaves it where it is if it is there or further."""
        if offset > self.swept:
            self.swept = offset
            self._swept_end = self.log.end_at(offset)

    @property
    def unswept(self) -> int:
        """Publications that the next sweep has to write."""
        return self.log.head - self.swept

    def bursting(self) -> bool:
        """Whether a whole burst has come since the last audit, and somebody is behind who may not get all of it."""
        log = self.log
        if log.head - self._audited < BURST_MESSAGES and log.end - self._audited_end < BURST_BYTES:
            return False
        return self.behind()

    def behind(self) -> bool:
        """Whether a client is neither in a ready group nor asleep. O(encodings)."""
        return len(self.queues) > sum(map(len, self.groups.values())) + len(self.sleepers)

    def trim(self, *, max_messages: int, max_bytes: int) -> None:
        """Cuts the log to its bounds, but for what came since the last audit while somebody is behind. This is one."""
        log = self.log
        if self.behind():
            max_messages += log.head - self._audited
            max_bytes += log.end - self._audited_end
        log.trim(max_messages=max_messages, max_bytes=max_bytes)
        self._audited, self._audited_end = log.head, log.end

    def crowded(self, *, messages: int, size_bytes: int) -> bool:
        """Whether as much as that, in publications or in payload bytes, is unswept. O(1)."""
        log = self.log
        return log.head - self.swept >= messages or log.end - self._swept_end >= size_bytes


class Hub:
    """The channels by name. Owns the invariant that a channel is here while it has a client or a fresh publication.

    Args:
        queue_messages: A queue's bound in publications.
        queue_bytes: A queue's bound in payload bytes.
        overflow: What becomes of a client that is further behind.
        history_messages: A log's bound in publications; it is at least `queue_messages`, or windows would show less.
        history_bytes: A log's bound in payload bytes, at least `queue_bytes` likewise.
        history_seconds: How long a channel without clients stays after its newest publication.
        cohort_clients: How many clients are written to in one go.
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
        overflow: Overflow = Overflow.DISCONNECT,
    ) -> None:
        self.overflow = overflow
        self.queue_messages = queue_messages
        self.queue_bytes = queue_bytes
        self.log_messages = max(history_messages, queue_messages)
        self.log_bytes = max(history_bytes, queue_bytes)
        self.history_seconds = history_seconds
        self.publications = 0
        self._cohort_clients = cohort_clients
        self._channels: dict[str, Channel] = {}
        self._grown: dict[Channel, None] = {}  # channels that were published to, until their logs are within bounds
        self._idle: dict[Channel, float] = {}  # {channel without clients: since when}, the longest idle first

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    def __len__(self) -> int:
        return len(self._channels)

    def channel(self, name: str, *, time: float) -> Channel:
        """The channel called `name`, opened if need be. O(1).

        Raises:
            ChannelNameError: The name is not allowed.
        """
        channel = self._channels.get(name)
        if channel is None:
            log = Log(
                check_channel_name(name),
                epoch=secrets.token_hex(4),
                max_messages=self.log_messages + BURST_MESSAGES,
                max_bytes=self.log_bytes + BURST_BYTES,
            )
            channel = self._channels[name] = Channel(name, log, cohort_clients=self._cohort_clients)
            self._idle[channel] = time
        return channel

    def publish(
        self, channel: Channel, payload: bytes, *, binary: bool, time: float, key: str | None = None
    ) -> Publication:
        """Appends to the channel's log: that is arrival. O(1), whatever the number of clients."""
        self.publications += 1
        publication = channel.log.append(payload, binary=binary, time=time, key=key)
        self._grown[channel] = None
        if publication.offset % _SETTLE_EVERY == 0 and not channel.behind():
            channel.trim(max_messages=self.log_messages, max_bytes=self.log_bytes)  # nobody needs more: no audit yet
        if not channel.queues:
            channel.mark_swept(publication.offset)
            self._idle.pop(channel, None)
            self._idle[channel] = time
        return publication

    def subscribe(self, channel: Channel, *, since: int | None = None) -> Queue:
        """A new queue that begins after offset `since`, by default at the head: nothing from before. O(1).

        Raises:
            IndexError: There is no such offset yet.
        """
        head = channel.log.head
        if since is not None and not 0 <= since <= head:
            raise IndexError(f"offset {since} of channel {channel.name} is outside 0..{head}")
        queue = Queue(
            channel.log,
            cursor=head if since is None else since,
            max_messages=self.queue_messages,
            max_bytes=self.queue_bytes,
            overflow=self.overflow,
        )
        channel.queues[queue] = None
        self._idle.pop(channel, None)
        return queue

    def unsubscribe(self, channel: Channel, queue: Queue, *, time: float) -> None:
        """Lets a queue go that has left its ready group. O(1)."""
        channel.queues.pop(queue, None)
        channel.sleepers.pop(queue, None)
        if channel.queues:
            return
        channel.mark_swept(channel.log.head)
        channel.groups.clear()
        if len(channel.log):
            self._idle[channel] = time
        else:
            self._forget(channel)

    def trim(self) -> None:
        """Cuts logs to their bounds, but for what came since the last audit. O(channels published to since)."""
        for channel in list(self._grown):
            channel.trim(max_messages=self.log_messages, max_bytes=self.log_bytes)
            if len(channel.log) <= self.log_messages and channel.log.retained_bytes <= self.log_bytes:
                del self._grown[channel]

    @property
    def retained_bytes(self) -> int:
        """Payload bytes that all logs retain. O(channels)."""
        return sum(channel.log.retained_bytes for channel in self._channels.values())

    def expire(self, time: float) -> None:
        """Forgets channels that have been without clients for `history_seconds`. O(those forgotten)."""
        while self._idle:
            channel, since = next(iter(self._idle.items()))
            if time - since < self.history_seconds:
                return
            del self._idle[channel]
            self._forget(channel)

    def relieve(self, excess_bytes: int) -> None:
        """Forgets channels without clients, the longest idle first, until `excess_bytes` are free or none is left."""
        while excess_bytes > 0 and self._idle:
            channel = next(iter(self._idle))
            excess_bytes -= channel.log.retained_bytes
            del self._idle[channel]
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.name]
        self._grown.pop(channel, None)
