from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from fanwise.backplane.nats.address import parse
from fanwise.backplane.nats.dial import ApiError, api
from fanwise.backplane.nats.life import Life, Lives
from fanwise.backplane.nats.link import Link, LinkError
from fanwise.errors import SettingsError

from ...support.nats import NatsEngine

pytestmark = pytest.mark.anyio


def lives(engine: NatsEngine, *, patience_seconds: float = 0.0, **options: Any) -> Lives:
    address = parse(engine.server.url)
    return Lives(address, replace(engine.options, **options), patience_seconds=patience_seconds)


async def streams(link: Link, engine: NatsEngine) -> set[str]:
    found = await api(link, "STREAM.NAMES")
    return {name for name in found["streams"] or () if name.startswith(f"{engine.prefix}-")}


async def test_all_find_the_same_life(engine: NatsEngine) -> None:
    """Also those who look for it at once: one begins it, and the others wait until its stream is there."""

    async def find(link: Link) -> Life:
        mine = lives(engine, patience_seconds=60)
        while True:
            try:
                return await mine.find(link)
            except LinkError:
                await asyncio.sleep(0)

    async with engine.server.link() as link:
        found = await asyncio.gather(*(find(link) for _ in range(5)))
        assert len({one.stream for one in found}) == 1
        assert all(abs(one.ahead_ms) < 2000 for one in found)
        assert await streams(link, engine) == {found[0].stream, f"{engine.prefix}-life"}


async def test_a_life_without_its_stream(engine: NatsEngine) -> None:
    """Who has met it begins another one at once; others have patience with the node that has named it."""
    async with engine.server.link() as link:
        met, other = lives(engine, patience_seconds=60), lives(engine, patience_seconds=60)
        first = await met.find(link)
        await api(link, f"STREAM.DELETE.{first.stream}")
        with pytest.raises(LinkError, match="about to make"):
            await other.find(link)
        second = await met.find(link)
        assert second.stream != first.stream
        assert (await other.find(link)).stream == second.stream
        await api(link, f"STREAM.DELETE.{second.stream}")
        impatient = lives(engine)
        assert (await impatient.find(link)).stream not in {first.stream, second.stream}


async def test_another_life_ends_the_one_before(engine: NatsEngine) -> None:
    """Its stream is deleted before the new one is there; a turn that another node was faster with is none."""
    async with engine.server.link() as link:
        mine = lives(engine)
        first = await mine.find(link)
        await mine.turn(link, first)
        second = await mine.find(link)
        await mine.turn(link, first)
        assert (await mine.find(link)).stream == second.stream
        assert await streams(link, engine) == {second.stream, f"{engine.prefix}-life"}


async def test_what_is_refused(engine: NatsEngine) -> None:
    """Other promises than the streams have, another layout, and a cluster in which restarts go unnoticed."""
    async with engine.server.link() as link:
        await lives(engine).find(link)
        with pytest.raises(SettingsError, match="JetStream: stream name already in use"):
            await lives(engine, durable=True).find(link)
        with pytest.raises(SettingsError, match="JetStream: replicas > 1 not supported"):
            await lives(engine, prefix="other", replicas=1).find(link)
        await link.ask(f"{engine.prefix}.life", b"0 abc")
        with pytest.raises(SettingsError, match="layout 0, not 1: choose another one"):
            await lives(engine).find(link)
        link.info["cluster"] = "c"
        with pytest.raises(SettingsError, match="set FANWISE_BACKPLANE_REPLICAS to 1"):
            await lives(engine).find(link)
        link.abort()
        with pytest.raises((LinkError, ApiError)):
            await lives(engine, durable=True).find(link)
