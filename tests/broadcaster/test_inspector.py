from __future__ import annotations

import asyncio
from operator import itemgetter

import pytest

from fanwise.broadcaster.inspector import Busiest
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.turns import first_in_turns, in_turns

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
