"""What can be asked of a running broadcaster: plain tuples, made when somebody asks and never before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from ..core.channel import Channel
from ..core.counters import Tally, name_of
from ..core.hub import Hub, log_begin
from ..core.publication import Position, Publication
from ..core.queue import Gap
from ..core.reasons import CloseReason
from .client import Client
from .looplag import LoopLag
from .ranking import Busiest, furthest_behind, in_turns
from .registry import Farewell, Roster


class ClientStatistics(NamedTuple):
    """One client, as it was when asked: `lag` in publications and `lag_bytes` in payload bytes, over all channels.

    `path` is how sweeps reach it: "direct" to its socket, through its "transport" (TLS), or over plain "asgi".
    `buffered_bytes` wait in user space for its socket; `behind_seconds` is how long it has been behind, None if it is
    not; `rtt_seconds` is from the latest ping to its pong, None without one.
    """

    id: str
    address: str
    dialect: str
    path: str
    state: str
    channels: tuple[str, ...]
    lag: int
    lag_bytes: int
    buffered_bytes: int
    behind_seconds: float | None
    rtt_seconds: float | None
    connected_seconds: float


class ChannelStatistics(NamedTuple):
    """One channel, as it was when asked.

    `deliveries` counts publications given to clients, `skipped` those that an overflow policy kept from them, both once
    per client.
    """

    name: str
    epoch: str
    clients: int
    ready: int
    head: int
    retained: int
    retained_bytes: int
    deliveries: int
    skipped: int


class Outline(NamedTuple):
    """How things stand: `behind` of the `clients` are not up to date, and logs take `retained_bytes` of memory, about.

    `loop_lag_seconds` is the longest that the event loop was late in the last seconds.
    """

    clients: int
    behind: int
    channels: int
    retained_bytes: int
    loop_lag_seconds: float


class Statistics(NamedTuple):
    """What `Broadcaster.statistics()` tells. `closed` counts ended connections by the name of their reason.

    `farewells` are the latest of them, at most 200, the newest last.
    """

    clients: tuple[ClientStatistics, ...]
    channels: tuple[ChannelStatistics, ...]
    publications: int
    farewells: tuple[Farewell, ...]
    closed: dict[str, int]


class History(NamedTuple):
    """What `Broadcaster.history()` tells; `gap` is what was asked for and is not retained."""

    epoch: str
    head: int
    publications: list[Publication]
    gap: Gap | None


def describe_client(client: Client, behind_seconds: float | None) -> ClientStatistics:
    """O(the client's queues)."""
    queues = [queue for _, queue in client.subscriptions.values()]
    return ClientStatistics(
        id=client.id,
        address=client.address,
        dialect=client.outlet.dialect.name,
        path=client.outlet.path,
        state=client.state.value,
        channels=tuple(client.subscriptions),
        lag=sum(queue.qsize() for queue in queues),
        lag_bytes=sum(queue.qsize_bytes() for queue in queues),
        buffered_bytes=client.sink.buffered_bytes,
        behind_seconds=behind_seconds,
        rtt_seconds=client.rtt_seconds,
        connected_seconds=time.monotonic() - client.connected_at,
    )


def describe_channel(channel: Channel) -> ChannelStatistics:
    """O(1)."""
    return ChannelStatistics(
        name=channel.name,
        epoch=channel.log.epoch,
        clients=len(channel.queues),
        ready=sum(len(group) for group in channel.groups.values()),
        head=channel.log.head,
        retained=len(channel.log),
        retained_bytes=channel.log.retained_bytes,
        deliveries=channel.deliveries,
        skipped=channel.skipped,
    )


class Inspected:
    """The half of a broadcaster that can be asked how things stand."""

    max_message_bytes: int
    max_clients: int
    _hub: Hub
    _roster: Roster
    _loop_lag: LoopLag
    _memory_bytes: int | None
    _slice_bytes: int
    _close_seconds: float

    def statistics(self) -> Statistics:
        """Who is here and how things stand. O(clients + channels)."""
        return Statistics(
            clients=tuple(self.clients()),
            channels=tuple(self.channels()),
            publications=self._hub.tally.publications,
            farewells=self.farewells(),
            closed={name_of(reason): count for reason, count in self._hub.tally.closed.items() if count},
        )

    @property
    def tally(self) -> Tally:
        """What was counted since the start."""
        return self._hub.tally

    @property
    def max_channels(self) -> int:
        """How many channels there may be."""
        return self._hub.max_channels

    def outline(self) -> Outline:
        """How things stand, in numbers. O(1)."""
        return Outline(
            clients=len(self._roster),
            behind=self._roster.behind_count,
            channels=len(self._hub),
            retained_bytes=self._hub.charged_bytes,
            loop_lag_seconds=self._loop_lag.worst_seconds,
        )

    def limits(self) -> dict[str, int | float | str | None]:
        """What is in force, by the names of the settings."""
        hub = self._hub
        return {
            "queue_messages": hub.queue_messages,
            "queue_bytes": hub.queue_bytes,
            "overflow": hub.overflow.value,
            "history_messages": hub.log_messages,
            "history_bytes": hub.log_bytes,
            "history_seconds": hub.history_seconds,
            "max_message_bytes": self.max_message_bytes,
            "max_clients": self.max_clients,
            "max_channels": hub.max_channels,
            "memory_bytes": self._memory_bytes,
            "stall_seconds": self._roster.stall_seconds,
            "slice_bytes": self._slice_bytes,
            "close_seconds": self._close_seconds,
        }

    async def furthest_behind(self, *, limit: int, channel: str | None = None) -> list[ClientStatistics]:
        """The clients that have most to get, and others where fewer are behind. Holds the loop for 2 ms at a time.

        With `channel` only those on it.
        """
        found = await furthest_behind(self._roster, limit=limit, channel=channel)
        behind_seconds = self._roster.behind_seconds
        return await in_turns(lambda client: describe_client(client, behind_seconds(client)), found)

    @cached_property
    def busiest(self) -> Busiest:
        """Ranks the channels; `describe_channel` tells how one stands."""
        return Busiest(self._hub)

    def clients(self) -> Iterator[ClientStatistics]:
        """Who is here, in the order in which they came."""
        return (describe_client(client, self._roster.behind_seconds(client)) for client in self._roster)

    def farewells(self) -> tuple[Farewell, ...]:
        """The latest who have gone, the newest last."""
        return tuple(self._roster.farewells)

    def channel_names(self) -> list[str]:
        """The names of the open channels, in the order in which they were opened."""
        return [channel.name for channel in self._hub]

    def channel(self, name: str) -> ChannelStatistics | None:
        """One open channel, if it is. O(1)."""
        found = self._hub.find(name)
        return None if found is None else describe_channel(found)

    def channels(self) -> Iterator[ChannelStatistics]:
        """The open channels, in the order in which they were opened."""
        return map(describe_channel, self._hub)

    def history(self, channel: str, *, since: Position | None = None, limit: int = 100) -> History | None:
        """What the log of `channel` retains after `since`, by default all; at most `limit` publications, oldest first.

        None if there is no such channel. O(what is returned).
        """
        found = self._hub.find(channel)
        if found is None:
            return None
        log = found.log
        begin, gap = log_begin(log, since or Position(log.epoch, log.first - 1))
        cursor = gap.last if gap else begin.offset
        publications = log.read(cursor, max_bytes=log.max_bytes, until=min(log.head, cursor + limit))
        return History(log.epoch, log.head, publications, gap)

    def close_client(self, client_id: str) -> bool:
        """Closes the client with that id as the operator wants it; False if there is none."""
        client = self._roster.find(client_id)
        if client is not None:
            client.close(CloseReason.OPERATOR)
        return client is not None
