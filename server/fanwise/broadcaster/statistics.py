"""Statistics: plain tuples about a running broadcaster, made when they are asked for."""

from __future__ import annotations

import time
from typing import NamedTuple

from ..core.channel import Channel
from ..core.publication import Publication
from ..core.queue import Gap
from ..core.rights import User
from .client import Client
from .registry import ClosedClient


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
    user: User | None = None


class ChannelStatistics(NamedTuple):
    """One channel, as it was when asked.

    `deliveries` counts publications given to clients, `skipped` those that an overflow policy kept from them, both once
    per client. `most_per_second` are publications in the busiest quarter of a second; `message_bytes` is their payload
    on average, None before the first. `pattern` is the one whose options hold, None if none does.
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
    most_per_second: float
    message_bytes: float | None
    pattern: str | None = None


class Outline(NamedTuple):
    """A node in numbers: `behind` of the `clients` are not up to date; logs take about `retained_bytes` of memory.

    `loop_lag_seconds` is the longest that the event loop was late in the last seconds.
    """

    clients: int
    behind: int
    channels: int
    retained_bytes: int
    loop_lag_seconds: float


class Statistics(NamedTuple):
    """The answer of `Broadcaster.statistics()`. `closed` counts ended connections by the name of their reason.

    `closed_clients` are the latest of them, at most 200, the newest last.
    """

    clients: tuple[ClientStatistics, ...]
    channels: tuple[ChannelStatistics, ...]
    publications: int
    closed_clients: tuple[ClosedClient, ...]
    closed: dict[str, int]


class History(NamedTuple):
    """The answer of `Inspector.history()`. `gap` was asked for and is not retained."""

    epoch: str
    head: int
    publications: list[Publication]
    gap: Gap | None


def describe_client(client: Client, behind_seconds: float | None) -> ClientStatistics:
    """O(the client's queues)."""
    return ClientStatistics(
        id=client.id,
        address=client.address,
        dialect=client.outbox.dialect.name,
        path=client.outbox.path,
        state=client.state.value,
        channels=tuple(client.subscriptions),
        lag=sum(queue.qsize() for _, queue in client.subscriptions.values()),
        lag_bytes=sum(queue.qsize_bytes() for _, queue in client.subscriptions.values()),
        buffered_bytes=client.sink.buffered_bytes,
        behind_seconds=behind_seconds,
        rtt_seconds=client.rtt_seconds,
        connected_seconds=time.monotonic() - client.connected_at,
        user=client.user,
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
        most_per_second=channel.most_per_second,
        message_bytes=channel.log.end / channel.log.head if channel.log.head else None,
        pattern=channel.namespace.pattern,
    )
