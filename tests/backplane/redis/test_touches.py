from __future__ import annotations

import asyncio

import pytest

from fanwise.backplane.redis.touches import Touches

from ...support.backplanes import Node
from ...support.engines import RedisEngine
from .test_tail import shard_of


def test_rounds_are_some_channels_at_a_time() -> None:
    """Of all channels now and then, and more often of those that nothing was published to."""
    touched: list[tuple[str, int]] = []
    channels = {f"c{number}": number % 2 for number in range(1200)}  # {name: publications}
    touches = Touches(
        channel_seconds=40.0,
        unpublished_seconds=4.0,
        in_use=lambda published: (name for name, count in channels.items() if published or not count),
        touch=lambda name, milliseconds: touched.append((name, milliseconds)),
    )
    for _ in range(4):
        touches.go_on(0.0)
    assert touched == [(name, 40_000) for name in channels]
    touched.clear()
    touches.go_on(0.9)
    assert touched == []
    for _ in range(3):
        touches.go_on(1.0)
    assert touched == [(name, 4_000) for name, count in channels.items() if not count]
    touched.clear()
    touches.go_on(10.0)
    assert touched[0] == ("c0", 40_000)


@pytest.mark.anyio
async def test_channels_in_use_stay_in_the_engine(engine: RedisEngine) -> None:
    """They have an hour again, or two minutes before their first publication; those that nobody uses have less."""
    async with Node(engine.backplane()) as node:
        for name in ("used", "spoken", "aside"):
            await node.open(name)
        await node.publish("spoken", b"x")
        await node.has(await node.publish("spoken", b"y"), "spoken")
        del node.heads["aside"]

        async def seconds(name: str) -> float:
            return float(await engine.server.ask("PTTL", f"{engine.prefix}:{{0}}:m:{name}")) / 1000

        hour, minutes = engine.options.channel_seconds, engine.options.unpublished_seconds
        assert minutes < await seconds("spoken") <= hour
        assert 0 < await seconds("used") <= minutes
        for name in ("used", "spoken", "aside"):
            await engine.server.ask("PEXPIRE", f"{engine.prefix}:{{0}}:m:{name}", 60_000)
        shard_of(node)._touches._next_at = shard_of(node)._touches._next_whole_at = 0.0
        while await seconds("spoken") <= minutes or await seconds("used") <= minutes:  # noqa: ASYNC110 - a server is asked
            await asyncio.sleep(0)
        assert await seconds("aside") <= 60
