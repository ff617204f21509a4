"""What only the engine in memory does; `test_port` has all else."""

from __future__ import annotations

import pytest

from fanwise.backplane.memory import MemoryEngine

from ..support.backplanes import Node

pytestmark = pytest.mark.anyio


async def test_a_connection_that_has_ended_hears_nothing() -> None:
    """And does not hold the engine."""
    engine = MemoryEngine()
    async with Node(engine.backplane()) as one:
        await one.open("lobby")
        async with Node(engine.backplane()) as other:
            await other.open("lobby")
            await other.has(await one.publish("lobby", b"a"))
        await one.has(await one.publish("lobby", b"b"))
        assert (one.heard(), other.heard()) == ([b"a", b"b"], [b"a"])
        assert len(engine._backplanes) == 1
