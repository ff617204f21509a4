from __future__ import annotations

import weakref

import pytest
import uvicorn

from fanwise.broadcaster.node import Node
from fanwise.transport.places import PlaceLimits, Places
from fanwise.transport.server import FanwiseServer

pytestmark = pytest.mark.anyio


class _Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.myself = self


async def test_young_objects_are_collected_at_each_tick() -> None:
    """So no collection has tens of thousands to look through."""
    async with Node() as node:
        config = uvicorn.Config("nowhere:app", log_config=None)
        places = Places(PlaceLimits(), count=node.tally.reject)
        server = FanwiseServer(config, node, places=places, drain_seconds=0.0, facts={})
        young = weakref.ref(_Ring())
        assert not await server.on_tick(1)
        assert young() is None
