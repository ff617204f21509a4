from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fanwise.backplane.options import Options
from fanwise.backplane.port import Once, Outgoing
from fanwise.backplane.redis.taking import Taking, positions
from fanwise.backplane.waiting import Frame, Waiting
from fanwise.core.publication import Kind, Position
from fanwise.errors import IdempotencyError

from ...support.backplanes import Node
from ...support.engines import RedisEngine

pytestmark = pytest.mark.anyio


def frame(*parts: tuple[str, str]) -> Frame:
    """Publications, each with its channel and its request, which may be empty."""
    loop = asyncio.get_running_loop()
    waiting = []
    for channel, key in parts:
        once = Once(key, "d1") if key else None
        waiting.append(Waiting(Outgoing(channel, b"x", Kind.TEXT, once=once), loop.create_future(), 0.0, 1))
    return Frame(7, waiting)


async def test_a_channel_is_named_once_for_what_follows_each_other() -> None:
    """And a publication with a request is alone, as the engine may have it already."""
    made = frame(("a", ""), ("a", ""), ("b", ""), ("a", ""), ("a", "cafe"), ("a", "beef"), ("a", ""))
    keys, arguments = Taking("p:", Options(), sender="me", channel_ms=1000).call(made, 5)
    runs = ["a", "b", "a", "a", "a", "a"]
    metas = [key for channel in runs for key in (f"p:m:{channel}", f"p:h:{channel}")]
    assert keys == ["p:shard", "p:live", "p:w:me", *metas, "p:i:cafe", "p:i:beef"]
    assert arguments[:2] == [7, 5]
    assert arguments[9] == "4 d1 5 d1"
    assert arguments[11] == len(runs)
    assert arguments[12:18] == ["a", 2, b"T", b"x", b"T", b"x"]
    answer = b"9\ne1 4\ne2 1\ne1 6\n!\ne1 7\ne1 8"
    found = positions(made, answer)
    assert isinstance(found.pop(4), IdempotencyError)
    assert found == [Position(*one) for one in (("e1", 4), ("e1", 5), ("e2", 1), ("e1", 6), ("e1", 7), ("e1", 8))]


@pytest.mark.parametrize(("messages", "kept"), [(3, 3), (50, 50), (0, 0)])
async def test_a_long_run_is_trimmed_as_single_ones_are(engine: RedisEngine, messages: int, kept: int) -> None:
    """The history has what options retain, and each publication has its own place."""
    engine.options = replace(engine.options, history_messages=messages)
    async with Node(engine.backplane()) as node:
        await node.open("lobby")
        found = await asyncio.gather(*(node.publish("lobby", b"%d" % number) for number in range(128)))
        assert [one.offset for one in found] == list(range(1, 129))
        await node.has(found[-1])
        assert node.heard() == [b"%d" % number for number in range(128)]
        opened = await node.open("lobby", Position("", 0))
        payloads = [one.payload for one in opened.publications]
        assert payloads == [b"%d" % number for number in range(128 - len(payloads), 128)]
        assert kept <= len(payloads) <= kept + 64 * bool(kept)


async def test_a_run_of_large_payloads_keeps_the_bound_in_bytes(engine: RedisEngine) -> None:
    """Within that one run: no later publication is needed to trim it."""
    engine.options = replace(engine.options, history_bytes=100_000)
    async with Node(engine.backplane()) as node:
        await node.open("lobby")
        await asyncio.gather(*(node.publish("lobby", bytes(5_000)) for _ in range(50)))
        opened = await node.open("lobby", Position("", 0))
        assert 1 <= len(opened.publications) <= 20


async def test_channels_take_turns_in_one_frame(engine: RedisEngine) -> None:
    """Runs of one are what they were."""
    async with Node(engine.backplane()) as node:
        for name in ("a", "b"):
            await node.open(name)
        found = await asyncio.gather(*(node.publish("ab"[number % 2], b"%d" % number) for number in range(20)))
        assert [one.offset for one in found] == [number // 2 + 1 for number in range(20)]
        for name in ("a", "b"):
            await node.has(found["ab".index(name) - 2], name)
            assert len(node.heard(name)) == 10
