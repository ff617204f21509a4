from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fanwise.backplane.options import History
from fanwise.core.publication import Position
from fanwise.errors import BackplaneDownError, UnconfirmedError

from ...support.backplanes import Node
from ...support.engines import RedisEngine, RedisServer, redis_server
from .test_tail import shard_of

pytestmark = pytest.mark.anyio


async def test_a_frame_that_was_sent_is_not_taken_twice(engine: RedisEngine) -> None:
    """The link breaks after the frame has gone out and before its answer is read: the same number, the same answer."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await two.open("lobby")
        positions = []
        for number in range(20):
            dialled = shard_of(one)._dialled
            assert dialled is not None
            dialled.link.pause()  # the answer comes, and is never read
            future = one.publish("lobby", b"%d" % number)
            await two.has(Position(two.heads["lobby"].epoch, number + 1))  # so the engine has it
            dialled.link.abort()
            positions.append(await future)
        assert [position.offset for position in positions] == list(range(1, 21))
        await two.has(positions[-1])
        assert two.heard() == [b"%d" % number for number in range(20)]


@pytest.mark.parametrize("fault", [("CLIENT", "KILL", "TYPE", "pubsub"), ("SCRIPT", "FLUSH")])
async def test_a_broken_link_loses_nothing(engine: RedisEngine, fault: tuple[str, ...]) -> None:
    """Publications wait for the next link, and subscribers catch up."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await two.open("lobby")
        futures = []
        for number in range(30):
            futures.append(one.publish("lobby", b"%d" % number))
            if number % 10 == 5:
                await engine.server.ask(*fault)
        positions = await asyncio.gather(*futures)
        await two.has(positions[-1])
        assert two.heard() == [b"%d" % number for number in range(30)]
        assert two.gaps() == []


async def test_a_restart_without_data_is_a_new_epoch(server: RedisServer, engine: RedisEngine) -> None:
    """Also when nobody publishes meanwhile; it is said when it goes and when it is back."""
    async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
        await two.open("lobby")
        before = await one.publish("lobby", b"before")
        await two.has(before)
        server.restart()
        after = await one.publish("lobby", b"after")
        await two.has(after)
        assert after.epoch != before.epoch
        assert (two.heard(), len(two.gaps())) == ([b"before", b"after"], 1)


async def test_a_full_engine_takes_nothing(server: RedisServer, engine: RedisEngine) -> None:
    """And says so: nothing of the frame was published."""
    async with Node(engine.backplane()) as one:
        await one.open("lobby")
        await server.ask("CONFIG", "SET", "maxmemory", 1)
        try:
            with pytest.raises(BackplaneDownError, match="OOM"):
                await one.publish("lobby", b"x")
        finally:
            await server.ask("CONFIG", "SET", "maxmemory", 0)
        assert (await one.publish("lobby", b"y")).offset == 1


async def test_replicas_that_are_not_there_confirm_nothing(server: RedisServer) -> None:
    """It is published perhaps; with a replica, it is."""
    engine = RedisEngine(server, "replicas", replicas=1)
    async with Node(engine.backplane()) as one:
        with pytest.raises(UnconfirmedError, match="0 of 1 replicas have it"):
            await one.publish("lobby", b"x")


async def test_durable_data_stays_across_a_restart() -> None:
    """Nothing is lost, and positions hold."""
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
        await server.ready()
        engine = RedisEngine(server, "durable", durable=True, publish_seconds=5.0)
        async with Node(engine.backplane()) as one, Node(engine.backplane()) as two:
            await two.open("lobby")
            await one.publish("lobby", b"before")
            server.restart()
            after = await one.publish("lobby", b"after")
            await two.has(after)
            assert (after.offset, two.heard(), two.gaps()) == (2, [b"before", b"after"], [])


async def test_it_starts_without_an_engine(server: RedisServer, engine: RedisEngine) -> None:
    """And connects when there is one."""
    server.kill()
    async with Node(engine.backplane()) as one:
        assert not one.backplane.standing().up
        with pytest.raises(BackplaneDownError, match="No such file"):
            await one.publish("lobby", b"x")
        server.restart()
        assert (await one.publish("lobby", b"y")).offset == 1
        assert one.backplane.standing().up


async def test_histories_are_those_of_the_options_of_channels(server: RedisServer) -> None:
    """None, a few, and as many as for all others; of one frame and of many. A history that was kept before goes."""
    own = {"none": History(0, 0, 60.0), "few": History(5, 1 << 20, 60.0)}
    everything = Position("none", 0)
    async with RedisEngine(server, "histories") as engine, Node(engine.backplane()) as before:
        await before.publish("none", b"old")
    engine.options = replace(engine.options, history_of=lambda name: own.get(name, engine.options.all_channels))
    async with engine, Node(engine.backplane()) as node:
        for _ in range(200):
            last = await asyncio.gather(*(node.publish(name, b"x" * 10) for name in ("none", "few", "many")))
        assert [position.offset for position in last] == [201, 200, 200]
        opened = [await node.open(name, everything) for name in ("none", "few", "many")]
        assert [one.head for one in opened] == [201, 200, 200]
        none, few, many = (len(one.publications) for one in opened)
        assert (none, many) == (0, 200)
        assert 5 <= few <= 5 + 64
        assert "histories:{0}:h:none" not in await engine._keys("*")
        assert await node.publish("none", b"x") == Position(last[0].epoch, 202)
