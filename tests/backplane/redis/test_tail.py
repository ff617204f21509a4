from __future__ import annotations

import pytest

from fanwise.backplane.redis.backplane import RedisBackplane
from fanwise.backplane.redis.shard import Shard

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
