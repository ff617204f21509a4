from __future__ import annotations

import asyncio

import pytest

from fanwise.backplane.redis.backplane import RedisBackplane
from fanwise.backplane.redis.shard import Shard
from fanwise.core.publication import Position

from ...support.backplanes import Node
from ...support.engines import RedisEngine

pytestmark = pytest.mark.anyio


def shard_of(node: Node) -> Shard:
    assert isinstance(node.backplane, RedisBackplane)
    return node.backplane._shards[0]


async def deafen(node: Node) -> None:
    """Takes its subscription away."""
    dialled = shard_of(node)._dialled
    assert dialled is not None
    dialled.link.send_unanswered("UNSUBSCRIBE")
    await dialled.link.ask("PING")


async def test_a_deaf_node_is_found(engine: RedisEngine, caplog: pytest.LogCaptureFixture) -> None:
    """By the check, though nothing is pushed to it any more; twice, and it subscribes anew."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await two.open("lobby")
        link = shard_of(two)._dialled
        await deafen(two)
        for number in range(3):
            await two.has(await one.publish("lobby", b"%d" % number))
        assert two.heard() == [b"0", b"1", b"2"]
        assert two.gaps() == []
        assert "backplane_deaf" in {getattr(record, "code", "") for record in caplog.records}
        assert shard_of(two)._dialled is not link


async def test_many_missed_frames_are_fetched(engine: RedisEngine) -> None:
    """More than one answer has, while others go on publishing."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await two.open("lobby")
        await deafen(two)
        for number in range(50):
            last = await one.publish("lobby", b"%d" % number)
        await two.has(last)
        assert two.heard() == [b"%d" % number for number in range(50)]
        assert two.interruptions == 0


async def test_an_engine_that_bounds_its_answers(engine: RedisEngine) -> None:
    """It ends links over answers above its bound: fewer frames are asked for, and shorter histories, until they fit."""
    limit = "client-output-buffer-limit"
    before = (await engine.server.ask("CONFIG", "GET", limit))[1]
    await engine.server.ask("CONFIG", "SET", limit, "pubsub 512kb 0 0")
    try:
        async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
            await two.open("lobby")
            await deafen(two)
            for number in range(32):
                last = await one.publish("lobby", b"%d" % number * 50_000)
            await two.has(last)
            assert [len(body) for body in two.heard()] == [50_000 * len(str(number)) for number in range(32)]
            assert (two.interruptions, two.gaps()) == (0, [])
        async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
            for number in range(6):
                await asyncio.gather(*(one.publish(f"c{number}", bytes(30_000)) for _ in range(10)))
            opened = await asyncio.gather(*(two.open(f"c{number}", Position("", 0)) for number in range(6)))
            assert [len(each.publications) for each in opened] == [10] * 6
    finally:
        await engine.server.ask("CONFIG", "SET", limit, before)


async def test_frames_that_are_gone_while_nobody_publishes(engine: RedisEngine) -> None:
    """The check knows that there were some: they come from the histories, and do not wait for the next frame."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await two.open("lobby")
        await deafen(two)
        for number in range(3):
            last = await one.publish("lobby", b"%d" % number)
        await engine.lose_frames()
        await two.has(last)
        assert two.heard() == [b"0", b"1", b"2"]
        assert (two.interruptions, two.gaps()) == (1, [])


@pytest.mark.parametrize("text", ["no frame", "{generation} {number} x 5\nno text"])
async def test_an_entry_that_cannot_be_read_is_a_hole(engine: RedisEngine, text: str) -> None:
    """Its number is known by its place: what it may have stood for is told as lost, and what follows arrives."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await two.open("lobby")
        await two.has(await one.publish("lobby", b"0"))
        await deafen(two)
        (live,) = await engine._keys("*:live")
        shard = live.removesuffix("live") + "shard"
        generation, number = (int(one) for one in await engine.server.ask("HMGET", shard, "g", "n"))
        body = text.format(generation=generation, number=number + 1)
        await engine.server.ask("XADD", live, f"{generation}-{number + 1}", "f", body)
        await engine.server.ask("HSET", shard, "n", number + 1)
        await two.has(await one.publish("lobby", b"1"))
        assert two.heard() == [b"0", b"1"]
        assert two.backplane.counts.holes == 1
        assert two.wrong == []


async def test_a_push_that_cannot_be_read_is_not_taken_for_heard(engine: RedisEngine) -> None:
    """The link ends, and what the engine has under that number is fetched."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await two.open("lobby")
        await two.has(await one.publish("lobby", b"0"))
        tail = shard_of(two)._tail
        with pytest.raises(ValueError, match=r".*"):
            tail.pushed(b"%d %d x 5\nno text" % (tail.generation, tail.number + 1))
        await two.has(await one.publish("lobby", b"1"))
        assert two.heard() == [b"0", b"1"]
        assert two.gaps() == []
