from __future__ import annotations

import asyncio
import json

import pytest

from fanwise.broadcaster.client import Client
from fanwise.broadcaster.outbox import Outbox
from fanwise.core.dialect import JSON, PLAIN, Dialect
from fanwise.core.hub import Hub, Start
from fanwise.core.publication import Position
from fanwise.errors import AlreadySubscribedError, ChannelNameError, GoneError
from fanwise.transport.inbox import Inbox

from ..core.test_hub import begun, make_hub, publish
from ..support.fakes import FakeSink
from ..support.live import until
from .test_client import make_host

pytestmark = pytest.mark.anyio


def make_client(dialect: Dialect) -> tuple[Client, FakeSink]:
    sink = FakeSink()
    client = Client(
        "1",
        address="",
        outbox=Outbox(sink, dialect),
        listen=lambda: Inbox(pause=lambda: None, resume=lambda: None),
        close_seconds=1.0,
        owner=make_host(asyncio.get_running_loop(), make_hub()),
    )
    sink.attach(client)
    return client, sink


def subscribe(hub: Hub, client: Client, name: str, *, since: Position | None = None) -> Start:
    """As a node does."""
    client.check_new(name)
    start = hub.subscribe(name, since=since, time=0.0)
    client.begin(start)
    return start


def heard(sink: FakeSink) -> list[str]:
    return [json.loads(frame[frame.index(b"{") :])["op"] for frame in sink.written]


async def test_a_json_client_is_told_where_its_stream_begins() -> None:
    """And what is missing, before anything of the channel."""
    hub = make_hub()
    channel = begun(hub, published=9, trimmed_to=3)
    client, sink = make_client(JSON)
    start = subscribe(hub, client, "lobby", since=Position(channel.log.epoch, 2))
    assert heard(sink) == ["subscribed", "gap"]
    assert client.subscriptions["lobby"].queue is start.queue
    assert channel.skipped == 4
    client.start()
    await until(lambda: start.queue.shared is not None)
    assert b"".join(sink.written).count(b'"op":"message"') == 3
    client.close()
    assert client.task is not None
    await client.task


async def test_a_plain_client_is_told_nothing() -> None:
    """Its dialect has no words for it; what it misses is counted all the same."""
    hub = make_hub()
    channel = begun(hub, published=9, trimmed_to=3)
    client, sink = make_client(PLAIN)
    subscribe(hub, client, "lobby", since=Position(channel.log.epoch, 2))
    assert sink.written == []
    assert channel.skipped == 4


async def test_a_bad_name_changes_nothing() -> None:
    """Neither for the client nor in the hub."""
    hub = make_hub()
    client, sink = make_client(JSON)
    with pytest.raises(ChannelNameError):
        subscribe(hub, client, "no good")
    assert (client.subscriptions, sink.written, len(hub)) == ({}, [], 0)


async def test_a_channel_is_subscribed_once() -> None:
    """A second queue on it would be forgotten by the first one's owner."""
    hub = make_hub()
    client, _ = make_client(JSON)
    subscribe(hub, client, "lobby")
    with pytest.raises(AlreadySubscribedError, match="'lobby' already"):
        subscribe(hub, client, "lobby")
    assert len(hub.channel("lobby", time=0.0).queues) == 1


async def test_who_has_gone_is_not_put_onto_a_channel() -> None:
    """Nobody would let go of its queue again."""
    hub = make_hub()
    client, _ = make_client(JSON)
    client.close()
    with pytest.raises(GoneError):
        subscribe(hub, client, "lobby")
    assert len(hub) == 0


async def test_leaving_a_channel_lets_go_of_its_queue() -> None:
    """And of nothing else; who is not on it is told so."""
    hub = make_hub()
    client, _ = make_client(JSON)
    for name in "ab":
        subscribe(hub, client, name)
    channel, queue = client.unsubscribe("a")
    hub.unsubscribe(channel, queue, time=0.0)
    assert list(client.subscriptions) == ["b"]
    assert [len(channel.queues) for channel in hub] == [0, 1]
    with pytest.raises(KeyError):
        client.unsubscribe("a")
    publish(hub, hub.channel("a", time=0.0))
