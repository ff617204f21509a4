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
