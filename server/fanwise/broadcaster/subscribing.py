"""Subscribing: a client's queue is put onto a channel's log, and the client is told where its stream begins."""

from __future__ import annotations

from ..core.channel import Subscription
from ..core.hub import Hub, Start
from ..core.publication import Position
from ..errors import AlreadySubscribedError, GoneError
from .client import Client


def subscribe(hub: Hub, client: Client, name: str, *, since: Position | None, time: float) -> Start:
    """Puts `client` on the channel called `name`, after `since` or at the head. O(its channels).

    Synchronous: nothing is published between telling where the stream begins and its beginning, so that nothing is lost
    and nothing comes twice.

    Raises:
        ChannelLimitError: There is no room for another channel.
        ChannelNameError: The channel's name is not allowed.
        AlreadySubscribedError: It is on that channel.
        GoneError: The client is closed; nobody would take it off the channel again.
    """
    if client.reason is not None:
        raise GoneError
    if name in client.subscriptions:
        raise AlreadySubscribedError(name)
    channel = hub.channel(name, time=time)
    start = hub.subscribe(channel, since=since)
    dialect = client.outbox.dialect
    if dialect.subscribed is not None:
        client.tell(dialect.subscribed(name, start.position, None if since is None else start.gap is None))
    if start.gap is not None:
        channel.skip(start.gap)
        if dialect.gap is not None:
            client.tell(dialect.gap(name, channel.log.epoch, start.gap))
    client.subscribe(Subscription(channel, start.queue))
    return start


def unsubscribe(hub: Hub, client: Client, name: str, *, time: float) -> None:
    """Takes `client` off the channel called `name`: nothing of it is sent any more. O(its channels).

    Raises:
        KeyError: It is not on it.
    """
    channel, queue = client.unsubscribe(name)
    hub.unsubscribe(channel, queue, time=time)
