from __future__ import annotations

import asyncio
import time

import pytest

from fanwise.backplane.port import ONLY_LOOK, Opened
from fanwise.core.publication import Position
from fanwise.errors import BackplaneDownError

from ...support.backplanes import Node
from ...support.engines import RedisEngine

pytestmark = pytest.mark.anyio


async def test_many_channels_are_opened_at_once(engine: RedisEngine) -> None:
    """A hundred in a script, and each gets its own answer."""
    async with Node(engine.backplane()) as node:
        await asyncio.gather(*(node.publish(f"c{number}", b"%d" % number) for number in range(250)))
        opened = await asyncio.gather(*(node.open(f"c{number}", Position("", 0)) for number in range(250)))
        assert [one.publications[0].payload for one in opened] == [b"%d" % number for number in range(250)]
        assert len({one.epoch for one in opened}) == 250


async def test_long_histories_come_in_several_answers(engine: RedisEngine) -> None:
    """A megabyte each, so that neither side is held for long; all get theirs."""
    async with Node(engine.backplane()) as node:
        for number in range(4):
            await asyncio.gather(*(node.publish(f"c{number}", bytes(50_000)) for _ in range(20)))
        opened = await asyncio.gather(*(node.open(f"c{number}", Position("", 0)) for number in range(4)))
        assert [len(one.publications) for one in opened] == [20] * 4


async def test_clocks_of_machines_may_differ(engine: RedisEngine) -> None:
    """What is opened has times of this machine, as its age is looked at here."""
    async with Node(engine.backplane()) as node:
        await node.publish("lobby", b"x")
        for key in await engine._keys("*:h:*"):
            (text,) = await engine.server.ask("LRANGE", key, 0, -1)
            epoch, offset, _, rest = text.decode().split(" ", 3)
            now, _ = await engine.server.ask("TIME")
            await engine.server.ask("LSET", key, 0, f"{epoch} {offset} {int(now) * 1000 - 60_000} {rest}")
        opened = await node.open("lobby", Position("", 0))
        assert 59 < time.time() - opened.publications[0].at_ms / 1000 < 90


async def test_a_text_that_cannot_be_read_is_a_gap(engine: RedisEngine) -> None:
    """With all before it, on that channel alone: others that are opened with it, and links, go on."""
    async with Node(engine.backplane()) as node:
        for payload in (b"a", b"b", b"c"):
            await node.publish("lobby", payload)
        (key,) = await engine._keys("*:h:*")
        for text in ("no text", "epoch 2 0 lobby T\nb"):
            await engine.server.ask("LSET", key, 1, text)
            async with asyncio.timeout(10):
                opened, other = await asyncio.gather(node.open("lobby", Position("", 0)), node.open("other"))
            assert (opened.head, [one.payload for one in opened.publications]) == (3, [b"c"])
            assert other.head == 0


async def test_a_key_of_another_type_is_the_matter_of_its_channel_alone(engine: RedisEngine) -> None:
    """Who asks for it is told; the link stays, and those who asked with it get their answers."""
    async with Node(engine.backplane()) as node:
        await node.publish("good", b"x")
        (good,) = await engine._keys("*:m:good")
        await engine.server.ask("SET", good.removesuffix("good") + "bad", "no hash")
        async with asyncio.timeout(10):
            bad, *others = await asyncio.gather(
                *(node.open(name) for name in ("bad", "good", "new")), return_exceptions=True
            )
        assert isinstance(bad, BackplaneDownError)
        assert "WRONGTYPE" in str(bad)
        assert [one.head for one in others if isinstance(one, Opened)] == [1, 0]
        assert node.backplane.counts.links == 1


async def test_a_history_without_its_channel_is_nobodys(engine: RedisEngine) -> None:
    """As where the engine evicts: the channel begins anew, and the first publication throws the old history away."""
    async with Node(engine.backplane()) as node:
        for payload in (b"a", b"b", b"c"):
            await node.publish("lobby", payload)
        (meta,) = await engine._keys("*:m:lobby")
        (history,) = await engine._keys("*:h:lobby")
        await engine.server.ask("DEL", meta)
        opened = await node.open("lobby", Position("", 0))
        assert (opened.head, opened.publications) == (0, [])
        await node.publish("lobby", b"d")
        opened = await node.open("lobby", Position("", 0))
        assert (opened.head, [one.payload for one in opened.publications]) == (1, [b"d"])
        assert await engine.server.ask("LLEN", history) == 1


async def test_those_who_ask_together_get_what_each_asks_for(engine: RedisEngine) -> None:
    """Looks, channels to begin, and histories after different positions: each in its place."""
    async with Node(engine.backplane()) as node:
        positions = [await node.publish("long", b"%d" % number) for number in range(5)]
        await node.publish("short", b"x")
        names = ["nobody", "long", "new", "short", "short", "long", "nobody"]
        since = [ONLY_LOOK, positions[2], None, None, Position("", 0), ONLY_LOOK, ONLY_LOOK]
        asked = [node.open(name, position) for name, position in zip(names, since, strict=True)]
        opened = await asyncio.gather(*asked)
        assert [one.head for one in opened] == [0, 5, 0, 1, 1, 5, 0]
        assert [[one.payload for one in each.publications] for each in opened] == [
            [], [b"3", b"4"], [], [], [b"x"], [], [],
        ]  # fmt: skip
        assert [bool(one.epoch) for one in opened] == [False, True, True, True, True, True, False]
        assert await engine._keys("*:m:nobody") == []
        assert len(await engine._keys("*:m:new")) == 1
