from __future__ import annotations

import asyncio
import math
from operator import itemgetter

import pytest

from fanwise.broadcaster.inspector import Busiest
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.turns import first_in_turns, in_turns
from fanwise.core.forgiven import Bound
from fanwise.core.options import ChannelOptions
from fanwise.core.publication import Position

from ..core.test_hub import make_hub, publish
from ..support.live import until
from .test_node import joined

pytestmark = pytest.mark.anyio


async def test_who_has_most_to_get_comes_first() -> None:
    """In bytes; those who have everything fill up what is asked for."""
    async with (
        Node() as broadcaster,
        joined(broadcaster) as (ready, _),
        joined(broadcaster, "a") as (little, one),
        joined(broadcaster, "b") as (much, other),
    ):
        await until(lambda: all(client.state == "ready" for client in broadcaster.inspect.clients()))
        one.pause()
        other.pause()
        await broadcaster.publish("a", "x")
        await broadcaster.publish("a", "x")
        await broadcaster.publish("b", "x" * 100)
        found = await broadcaster.inspect.furthest_behind(limit=20)
        assert [client.id for client in found] == [much.id, little.id, ready.id]
        assert [client.id for client in await broadcaster.inspect.furthest_behind(limit=1)] == [much.id]
        assert [client.id for client in await broadcaster.inspect.furthest_behind(limit=9, channel="a")] == [little.id]
        assert await broadcaster.inspect.furthest_behind(limit=9, channel="none") == []


async def test_channels_are_ranked_by_what_came_since_the_last_look() -> None:
    """With a rate from the second look on; a channel that was opened anew begins at 0, and never goes below."""
    hub = make_hub(queue_messages=100)
    old, new = hub.channel("old", time=0.0), hub.channel("new", time=0.0)
    for _ in range(50):
        publish(hub, old)
    busiest = Busiest(hub)
    assert [(channel.name, rate) for channel, rate in await busiest.look(limit=9)] == [("old", None), ("new", None)]
    publish(hub, new)
    (first, rate), (second, no_rate) = await busiest.look(limit=9)
    assert (first, second) == (new, old)
    assert rate is not None
    assert rate > 0
    assert no_rate == 0
    hub.retention._forget(old)
    publish(hub, hub.channel("old", time=0.0))
    ((again, rate),) = await busiest.look(limit=1)
    assert again.name == "old"
    assert rate is not None
    assert rate > 0
    assert len(await busiest.look(limit=1)) == 1


async def test_the_loop_turns_in_between() -> None:
    """Many items do not hold it: others get their turns before the last one."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    found = await in_turns(str, range(100_000))
    counting.cancel()
    assert found == [str(number) for number in range(100_000)]
    assert turns >= 2


async def test_the_first_of_many_are_those_of_a_sort() -> None:
    """In either direction, whatever the runs; equal items keep their order."""
    items = [(number * 7919 % 1000, number) for number in range(3000)]
    for reverse in (False, True):
        expected = sorted(items, key=itemgetter(0), reverse=reverse)
        for limit in (1, 512, 2999, 4000):
            assert await first_in_turns(items, limit, key=itemgetter(0), reverse=reverse) == expected[:limit]
    assert await first_in_turns([], 3, key=itemgetter(0)) == []


async def test_a_search_in_turns_ends_with_its_limit() -> None:
    """What is None was not found, and what follows the limit is not looked at."""
    seen: list[int] = []

    def odd(number: int) -> int | None:
        seen.append(number)
        return number if number % 2 else None

    assert await in_turns(odd, range(100_000), limit=3) == [1, 3, 5]
    assert len(seen) == 64


async def test_channels_are_listed_by_name_in_turns() -> None:
    """The first of a prefix, and how many there are; between two looks at the clock 512 names are sorted at most."""
    async with Node() as broadcaster:
        for number in range(2000):
            broadcaster.publish_nowait(f"{'ab'[number % 2]}/{number * 7919 % 2000}", "x")
        names, total = await broadcaster.inspect.channel_names(prefix="a/", limit=700)
        everything = sorted(channel.name for channel in broadcaster.inspect.channels() if channel.name.startswith("a/"))
        assert (names, total) == (everything[:700], len(everything))


async def test_names_of_channels_are_found_by_their_beginning() -> None:
    """Sorted, as many as are asked for, and with the number of all."""
    async with Node() as broadcaster:
        for name in ("news/b", "news/a", "talk", "news/c"):
            await broadcaster.publish(name, "x")
        assert await broadcaster.inspect.channel_names(prefix="news/", limit=2) == (["news/a", "news/b"], 3)
        assert await broadcaster.inspect.channel_names(limit=0) == ([], 4)
        assert [channel.name for channel in broadcaster.inspect.channels()] == ["news/b", "news/a", "talk", "news/c"]
        assert broadcaster.inspect.channel("none") is None


async def test_history_begins_behind_a_position() -> None:
    """Without one it begins with the log; one that the log does not reach comes with its gap."""
    async with Node(queue_messages=2, history_messages=3) as broadcaster:
        assert broadcaster.inspect.history("a") is None
        for number in range(5):
            await broadcaster.publish("a", str(number))
        await broadcaster._publisher.audited()
        whole = broadcaster.inspect.history("a")
        assert whole is not None
        assert ([one.offset for one in whole.publications], whole.head, whole.gap) == ([3, 4, 5], 5, None)
        rest = broadcaster.inspect.history("a", since=Position(whole.epoch, 4), limit=9)
        assert rest is not None
        assert [one.offset for one in rest.publications] == [5]
        lost = broadcaster.inspect.history("a", since=Position(whole.epoch, 1), limit=1)
        assert lost is not None
        assert lost.gap is not None
        assert (lost.gap.first, lost.gap.last) == (2, 2)
        assert [one.offset for one in lost.publications] == [3]


async def test_the_outline_and_the_limits_are_those_of_the_node() -> None:
    """By the names of the settings."""
    async with Node(queue_messages=7, history_messages=9, max_clients=3) as broadcaster:
        await broadcaster.publish("a", "x")
        outline, limits = broadcaster.inspect.outline(), broadcaster.inspect.limits()
        assert (outline.clients, outline.behind, outline.channels) == (0, 0, 1)
        assert {limits[name] for name in ("queue_messages", "history_messages", "max_clients")} == {7, 9, 3}


async def test_a_limit_that_there_is_not() -> None:
    """Is None, as JSON has no infinity."""
    assert Node(ready_lag_seconds=math.inf).inspect.limits()["ready_lag_seconds"] is None


async def test_the_limit_of_a_channel_is_by_its_own_options() -> None:
    """At its traffic; without any nothing is said."""
    options = {"short": ChannelOptions(queue_messages=3), "long": ChannelOptions(queue_bytes=100_000)}
    async with Node(channels=options) as node:
        for name in options:
            node._hub.channel(name, 0.0)
        assert [node.inspect.queue_limit(channel) for channel in node._hub] == [None, None]
        for name in options:
            node.publish_nowait(name, "x" * 1000)
        limits = [node.inspect.queue_limit(channel) for channel in node._hub]
        assert limits == [(3, Bound.MESSAGES), (100, Bound.BYTES)]


@pytest.mark.parametrize(
    ("overflow", "bounds"),
    [("disconnect", [Bound.STALL, Bound.AGE, Bound.PONG]), ("latest", [Bound.MESSAGES, Bound.AGE, Bound.AGE])],
)
async def test_the_shortest_pause_of_all_channels_is_told(overflow: str, bounds: list[Bound]) -> None:
    """Of those with clients and traffic; queues that skip know no stall while the peer's kernel answers."""
    async with Node(overflow=overflow, queue_messages=500, queue_bytes=1 << 30, memory_bytes=None) as broadcaster:
        inspect = broadcaster.inspect
        assert await inspect.least_forgiven() is None
        await broadcaster.publish("nobody", "x" * 60_000)
        async with joined(broadcaster):
            assert await inspect.least_forgiven() is None
            for _ in range(10):
                await broadcaster.publish("lobby", "x" * 14_600)
            seen = [await inspect.least_forgiven()]
            broadcaster._hub.namespaces.default.forgive_seconds = 3.0
            seen += [await inspect.least_forgiven(), await inspect.least_forgiven(pong_seconds=0.5)]
            assert [found and (found[0].name, found[1].bound) for found in seen] == [("lobby", one) for one in bounds]
            assert seen[1] is not None
            hidden_seconds = 179_000 / (10 * 14_604)  # what kernels take of messages above 5,000 bytes, at this rate
            assert seen[1][1].seconds == pytest.approx(3.0 + hidden_seconds, rel=0.01)
