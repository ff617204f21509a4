"""The inspector: answers about a running node. Long lists are gone through in turns of the event loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from ..core.addresses import owner_of
from ..core.channel import Channel
from ..core.counters import name_of
from ..core.filters import Filter
from ..core.forgiven import Bounds, Forgiven, QueueLimit, forgiven, queue_limit, traffic
from ..core.hub import Hub, log_begin
from ..core.namespaces import Namespaces
from ..core.publication import Position
from ..core.queue import Overflow
from .client import Client, State
from .looplag import LoopLag
from .registry import ClientRegistry, ClosedClient
from .statistics import (
    ChannelStatistics,
    ClientStatistics,
    History,
    Outline,
    Statistics,
    describe_channel,
    describe_client,
)
from .turns import first_in_turns, in_turns


class Rank(NamedTuple):
    """A channel, ranked by its publications since the last look, and then by its clients."""

    publications: int
    clients: int
    channel: Channel


class Busiest:
    """Ranks a hub's channels. Owns what their heads were at the last look, which the rates are made from.

    Args:
        hub: The channels.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._heads: dict[str, tuple[str, int]] | None = None  # {channel name: (epoch, head)} at the last look
        self._looked_at = 0.0

    async def look(self, *, limit: int) -> list[tuple[Channel, float | None]]:
        """The `limit` channels that were published to most since the last look, then those with the most clients.

        With each goes its rate, in publications per second; None at the first look. O(channels).
        """
        before, self._heads, now = self._heads, {}, time.monotonic()
        seconds, self._looked_at = max(now - self._looked_at, 1e-3), now
        heads, known = self._heads, before or {}

        def rank(channel: Channel) -> Rank:
            log = channel.log
            heads[channel.name] = log.epoch, log.head
            epoch, seen = known.get(channel.name, (log.epoch, 0))
            return Rank(log.head - seen if epoch == log.epoch else log.head, len(channel.queues), channel)

        ranks = await in_turns(rank, self._hub)
        ranked = await first_in_turns(ranks, limit, key=itemgetter(0, 1), reverse=True)
        return [(one.channel, None if before is None else one.publications / seconds) for one in ranked]


class Inspector:
    """Answers what can be asked of a running node. Owns nothing but what the rates of channels are made from.

    Args:
        hub: The channels.
        registry: The clients.
        loop_lag: How late the event loop is.
        limits: Returns the settings in force that are not the hub's.
    """

    def __init__(
        self,
        hub: Hub,
        registry: ClientRegistry,
        loop_lag: LoopLag,
        *,
        limits: Callable[[], dict[str, int | float | str | None]],
    ) -> None:
        self._hub = hub
        self._registry = registry
        self._loop_lag = loop_lag
        self._limits = limits
        self.busiest = Busiest(hub)  # ranks the channels; `describe_channel` describes one

    @property
    def namespaces(self) -> Namespaces:
        """The options of channels that are in force."""
        return self._hub.namespaces

    def statistics(self) -> Statistics:
        """Returns clients, channels and counts. O(clients + channels)."""
        return Statistics(
            clients=tuple(self.clients()),
            channels=tuple(self.channels()),
            publications=self._hub.tally.publications,
            closed_clients=self.closed(),
            closed={name_of(reason): count for reason, count in self._hub.tally.closed.items() if count},
        )

    def outline(self) -> Outline:
        """Returns the numbers of clients, channels and bytes. O(1)."""
        return Outline(
            clients=len(self._registry),
            behind=len(self._registry.behind),
            channels=len(self._hub),
            retained_bytes=self._hub.retention.charged_bytes,
            loop_lag_seconds=self._loop_lag.worst_seconds,
        )

    def limits(self) -> dict[str, int | float | str | None]:
        """Returns the limits in force, by the names of the settings; None: unlimited."""
        hub = self._hub
        return {
            "queue_messages": hub.queue_messages,
            "queue_bytes": hub.queue_bytes,
            "forgive_seconds": hub.forgive_seconds,
            "overflow": hub.overflow.value,
            "history_messages": hub.retention.max_messages,
            "history_bytes": hub.retention.max_bytes,
            "history_seconds": hub.retention.history_seconds,
            "max_channels": hub.max_channels,
            **{name: None if value == math.inf else value for name, value in self._limits().items()},
        }

    def forgiven(self, channel: Channel, *, pong_seconds: float = math.inf) -> Forgiven | None:
        """Returns the pause that a channel forgives at its present traffic; None without clients or traffic. O(log n).

        `pong_seconds` is the longest time between a ping and its pong.
        """
        now = traffic(channel.log, time.monotonic()) if channel.queues else None
        return None if now is None else forgiven(self._bounds(channel, pong_seconds), **now._asdict())

    def queue_limit(self, channel: Channel) -> QueueLimit | None:
        """Returns the lag at which a queue of a channel is full at its present traffic; None without any. O(log n)."""
        now = traffic(channel.log, time.monotonic())
        return None if now is None else queue_limit(self._bounds(channel, math.inf), **now._asdict())

    def _bounds(self, channel: Channel, pong_seconds: float) -> Bounds:
        space, stall_seconds = channel.namespace, self._limits()["stall_seconds"]
        skips = space.overflow is not Overflow.DISCONNECT
        return Bounds(
            space.queue_messages,
            space.queue_bytes,
            space.forgive_seconds,
            math.inf if skips or not isinstance(stall_seconds, float | int) else stall_seconds,
            math.inf if skips else pong_seconds,
        )

    async def least_forgiven(self, *, pong_seconds: float = math.inf) -> tuple[Channel, Forgiven] | None:
        """Returns the channel that forgives the shortest pause, and the pause; None if all are silent. O(channels)."""

        def look(channel: Channel) -> tuple[Channel, Forgiven] | None:
            found = self.forgiven(channel, pong_seconds=pong_seconds)
            return None if found is None else (channel, found)

        return min(await in_turns(look, self._hub), key=lambda one: one[1].seconds, default=None)

    async def furthest_behind(self, *, limit: int, channel: str | None = None) -> list[Client]:
        """Returns the clients that have most to get, then others. Holds the loop for 2 ms at a time.

        With `channel` only those on it. O(behind), and O(clients) if fewer than `limit` are behind.
        """

        def lag(client: Client) -> tuple[int, Client] | None:
            return (client.lag_bytes, client) if channel is None or channel in client.subscriptions else None

        def ready(client: Client) -> Client | None:
            asked_for = channel is None or channel in client.subscriptions
            return client if asked_for and client.state is State.READY else None

        behind = await first_in_turns(
            await in_turns(lag, self._registry.behind), limit, key=itemgetter(0), reverse=True
        )
        clients = [client for _, client in behind if client.reason is None]
        if len(behind) < limit:
            clients += await in_turns(ready, self._registry, limit=limit - len(behind))
        return clients

    def client(self, client: Client) -> ClientStatistics:
        """Returns how a client stands. O(channels that it is on)."""
        return describe_client(client, self._registry.behind_seconds(client))

    def clients(self) -> Iterator[ClientStatistics]:
        """Returns the clients, in the order in which they came."""
        return map(self.client, self._registry)

    def closed(self) -> tuple[ClosedClient, ...]:
        """The latest closed clients, at most 200, the newest last."""
        return tuple(self._registry.closed)

    async def channel_names(self, *, prefix: str = "", limit: int) -> tuple[list[str], int]:
        """Returns the first names of open channels that begin with `prefix`, sorted, and the number of all that do.

        Holds the loop for 2 ms at a time. O(channels).
        """
        found = await in_turns(lambda one: one.name if one.name.startswith(prefix) else None, self._hub)
        return await first_in_turns(found, limit, key=str), len(found)

    def channel(self, name: str) -> ChannelStatistics | None:
        """One open channel, if it is. O(1)."""
        found = self._hub.find(name)
        return None if found is None else describe_channel(found)

    def channels(self) -> Iterator[ChannelStatistics]:
        """The open channels, in the order in which they were opened."""
        return map(describe_channel, self._hub)

    def check_filter(self, channel: str, filter: Filter | None, address: str) -> None:
        """Raises FilterLimitError if a client of `channel` and `address` cannot have the filter. O(filters)."""
        found = self._hub.find(channel)
        if filter is not None and found is not None:
            found.check_filter(filter, owner_of(address), most_of_owner=self._hub.address_filters)

    def history(self, channel: str, *, since: Position | None = None, limit: int = 100) -> History | None:
        """Returns what `channel` retains after `since`, by default all: at most `limit` publications, oldest first.

        None if there is no such channel. O(what is returned).
        """
        found = self._hub.find(channel)
        if found is None:
            return None
        log = found.log
        first = found.first
        begin, gap = log_begin(log, since or Position(log.epoch, first - 1), first=first)
        cursor = gap.last if gap else begin.offset
        publications = log.read(cursor, max_bytes=log.max_bytes, until=min(log.head, cursor + limit))
        return History(log.epoch, log.head, publications, gap)


def limits_of(node: Any) -> dict[str, int | float | str | None]:
    """Returns the settings of a node that are not its hub's."""
    names = ("max_message_bytes", "max_clients", "memory_bytes", "stall_seconds", "close_seconds")
    own = {name: getattr(node, name) for name in (*names, "ready_lag_seconds", "compress_from_bytes")}
    return {**own, "slice_bytes": min(node.slice_bytes, node.queue_bytes)}
