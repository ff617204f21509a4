from __future__ import annotations

import pytest

from fanwise.backplane.memory import MemoryEngine
from fanwise.broadcaster.looks import is_published
from fanwise.errors import BackplaneDownError

from ..support.backplanes import Node

pytestmark = pytest.mark.anyio


async def test_a_look_begins_nothing() -> None:
    """It says whether something was published, and not whether somebody listens."""
    engine = MemoryEngine()
    async with Node(engine.backplane()) as node:
        assert not await is_published(node.backplane, "a", within_seconds=60)
        assert not engine._channels
        await node.open("a")
        assert not await is_published(node.backplane, "a", within_seconds=60)
        await node.publish("a", b"x")
        assert await is_published(node.backplane, "a", within_seconds=60)


async def test_an_engine_that_does_not_answer() -> None:
    """The look ends, and what the engine says later changes nothing."""
    engine = MemoryEngine()
    async with Node(engine.backplane()) as node:
        engine.stall()
        with pytest.raises(BackplaneDownError, match="it is stalled"):
            await is_published(node.backplane, "a", within_seconds=0.01)
        engine.stall(stalled=False)
        assert not await is_published(node.backplane, "a", within_seconds=60)


async def test_an_engine_that_answers_with_an_error() -> None:
    engine = MemoryEngine(publish_seconds=0.01)
    async with Node(engine.backplane()) as node:
        engine.stall()
        with pytest.raises(BackplaneDownError, match="the engine is stalled"):
            await is_published(node.backplane, "a", within_seconds=60)
