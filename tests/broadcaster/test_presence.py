from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fanwise import Broadcaster, ChannelNameError, User
from fanwise.broadcaster import presence as module
from fanwise.broadcaster.client import Client
from fanwise.broadcaster.node import Node
from fanwise.core.dialect import JSON
from fanwise.core.reasons import CloseReason

from ..support.fakes import FakeSink
from ..support.live import until

pytestmark = pytest.mark.anyio

ADA, BOB = User("ada", {"n": 1}), User("bob")


def enter(node: Node, user: User | None, channel: str | None = "a") -> Client:
    return node.add_client(FakeSink(), channel=channel, dialect=JSON, user=user)


async def test_who_is_on_a_channel() -> None:
    """Connections with a known user or without, and users once each, as many as are asked for."""
    async with Node() as node:
        for user in (ADA, BOB, None, ADA):
            enter(node, user)
        found = await node.presence("a")
        assert found == ("a", 4, 2, [ADA, BOB], False)
        assert (await node.presence("a", limit=1)) == ("a", 4, 2, [ADA], True)
        assert (await node.presence("a", limit=0)) == ("a", 4, 2, [], True)


async def test_asking_opens_no_channel() -> None:
    """Nobody is on a channel that does not exist; what is no name, and no limit, is refused."""
    async with Node() as node:
        assert await node.presence("b") == ("b", 0, 0, [], False)
        assert node.inspect.statistics().channels == ()
        with pytest.raises(ChannelNameError):
            await node.presence("no good")
        for limit in (-1, module.MOST_LISTED + 1):
            with pytest.raises(ValueError, match="is not within 0 and 10000"):
                await node.presence("b", limit=limit)
        assert node.presence.rosters == {}


@pytest.mark.parametrize(
    "leave",
    [
        lambda _node, client: client.close(),
        lambda _node, client: client.abort(CloseReason.STALLED),
        lambda _node, client: client.sink.end(CloseReason.LOST),
        lambda _node, client: client.broken(client.subscriptions["a"].queue, 0, CloseReason.LOST),
        lambda node, client: node.close_client(client.id),
        lambda node, client: node.client_failed(client, RuntimeError("a mistake")),
        lambda node, client: node.unsubscribe(client, "a"),
    ],
    ids=["closed", "dropped", "lost", "broken", "by an operator", "failed", "unsubscribed"],
)
async def test_a_user_leaves_with_the_last_client(leave: Callable[[Node, Client], object]) -> None:
    """Whichever way that goes; nothing is kept of a channel that is left."""
    async with Node() as node:
        first, second = enter(node, ADA), enter(node, ADA)
        leave(node, first)
        await until(lambda: node.presence.count_clients("a") == 1)
        assert (await node.presence("a")).users == 1
        leave(node, second)
        await until(lambda: node.presence.count_clients("a") == 0)
        assert await node.presence("a") == ("a", 0, 0, [], False)
        assert node.presence.rosters == {}


async def test_clients_on_their_way_to_a_successor_count_once() -> None:
    """While a channel's log goes on elsewhere."""
    async with Node() as node:
        client = enter(node, ADA)
        channel = client.subscriptions["a"].channel
        node._hub.succeed(channel, epoch="e", start=0, time=0.0)
        assert await node.presence("a") == ("a", 1, 1, [ADA], False)
        node._host.successors.succeeded(channel) if node._host else None
        await until(lambda: client.subscriptions["a"].channel is not channel)
        assert await node.presence("a") == ("a", 1, 1, [ADA], False)


async def test_the_user_of_a_client_may_change() -> None:
    """Unknown at first, then known, with other info, then another one: on all channels of the client."""
    async with Node() as node:
        client, other = enter(node, None), enter(node, ADA)
        node.subscribe(client, "b")
        for user in (ADA, User("ada", {"n": 2}), BOB):
            node.presence.identify(client, user)
            assert client.user is user
            assert await node.presence("b") == ("b", 1, 1, [user], False)
        assert (await node.presence("a")).users == 2
        for each in (client, other):
            each.close()
        await until(lambda: not node.presence.rosters)


async def test_a_watcher_that_leaves_is_forgotten() -> None:
    """By a close, or off the channel, with a user or without; also while something is to be told."""
    async with Node() as node:
        one, two = enter(node, None), enter(node, ADA)
        for client in (one, two):
            node.presence.watch(client, "a")
        assert list(node.presence.watched) == ["a"]
        node.unsubscribe(one, "a")
        two.close()
        await until(lambda: not node.presence.rosters)
        assert node.presence.watched == {}


async def test_a_client_that_has_left_does_not_watch() -> None:
    """It was closed, or taken off the channel, while the call that subscribed it was waiting for its turn."""
    async with Node() as node:
        client = enter(node, ADA)
        client.close()
        node.presence.watch(client, "a")
        assert (node.presence.rosters, node.presence.watched) == ({}, {})


async def test_a_journal_is_kept_while_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one knows no number of it."""
    monkeypatch.setattr(module, "JOURNAL_SECONDS", 0.05)
    async with Node() as node:
        client = enter(node, ADA)
        journal = node.presence.journal()
        assert node.presence.journal() is journal
        client.close()
        assert [change[1:] for change in journal.after(1) or ()] == [("a", "ada")]
        await until(lambda: node.presence._journal is None)
        assert node.presence.journal().after(journal.number) is None


async def test_a_broadcaster_answers() -> None:
    """As applications ask."""
    async with Broadcaster(trim_heap=False) as broadcaster:
        assert (await asyncio.wait_for(broadcaster.presence("lobby"), 60)).clients == 0
