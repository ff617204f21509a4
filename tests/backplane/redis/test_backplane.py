from __future__ import annotations

import asyncio

import pytest

from fanwise.backplane.options import Options
from fanwise.backplane.urls import backplane_from
from fanwise.errors import SettingsError

from ...support.backplanes import Node
from ...support.engines import RedisEngine, RedisServer, redis_server

pytestmark = pytest.mark.anyio


async def test_shards_share_the_channels(server: RedisServer) -> None:
    """Each has some, and only its own are interrupted when one loses its data."""
    with redis_server() as other:
        await server.ready()
        await other.ready()
        options = Options(prefix="shards", check_seconds=0.2)
        urls = f"{server.url} {other.url}"
        async with Node(backplane_from(urls, options)) as one, Node(backplane_from(urls, options)) as two:
            names = [f"c{number}" for number in range(20)]
            for name in names:
                await two.open(name)
            positions = await asyncio.gather(*(one.publish(name, b"a") for name in names))
            assert {position.offset for position in positions} == {1}
            other.restart()
            for name in names:
                await two.has(await one.publish(name, b"b"), name)
            assert all(two.heard(name) == [b"a", b"b"] for name in names)
            assert 0 < sum(len(two.gaps(name)) for name in names) < 20


async def test_nodes_that_disagree_are_refused(server: RedisServer, engine: RedisEngine) -> None:
    """On the number of shards: they would look for a channel in different places."""
    await server.ready()
    async with Node(engine.backplane()):
        backplane = backplane_from(f"{server.url} {server.url}", engine.options)
        with pytest.raises(SettingsError, match="LAYOUT 1/1"):
            async with Node(backplane):
                pass
