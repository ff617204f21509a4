"""What can be asked of a running broadcaster: plain tuples, made when somebody asks and never before."""

from __future__ import annotations

from typing import NamedTuple

from .hub import Channel
from .writer import Client


class ClientStatistics(NamedTuple):
    """One client, as it was when asked: `lag` in publications and `lag_bytes` in payload bytes, over all channels."""

    id: str
    address: str
    state: str
    channels: tuple[str, ...]
    lag: int
    lag_bytes: int


class ChannelStatistics(NamedTuple):
    """One channel, as it was when asked.

    `deliveries` counts publications given to clients, `skipped` those that an overflow policy kept from them, both once
    per client.
    """

    name: str
    clients: int
    ready: int
    head: int
    retained: int
    retained_bytes: int
    deliveries: int
    skipped: int


class Statistics(NamedTuple):
    """What `Broadcaster.statistics()` tells. `closed` counts ended connections by the name of their reason."""

    clients: tuple[ClientStatistics, ...]
    channels: tuple[ChannelStatistics, ...]
    publications: int
    closed: dict[str, int]


def describe_client(client: Client) -> ClientStatistics:
    """O(the client's queues)."""
    queues = [queue for _, queue in client.subscriptions.values()]
    return ClientStatistics(
        id=client.id,
        address=client.address,
        state=client.state.value,
        channels=tuple(client.subscriptions),
        lag=sum(queue.qsize() for queue in queues),
        lag_bytes=sum(queue.qsize_bytes() for queue in queues),
    )


def describe_channel(channel: Channel) -> ChannelStatistics:
    """O(1)."""
    return ChannelStatistics(
        name=channel.name,
        clients=len(channel.queues),
        ready=sum(len(group) for group in channel.groups.values()),
        head=channel.log.head,
        retained=len(channel.log),
        retained_bytes=channel.log.retained_bytes,
        deliveries=channel.deliveries,
        skipped=channel.skipped,
    )
