from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
import uvicorn
from uvicorn.server import ServerState

from fanwise.transport.limits import Limits
from fanwise.transport.surroundings import surroundings

pytestmark = pytest.mark.anyio


async def test_all_connections_of_a_server_share_one_value() -> None:
    """Which another server does not, and which goes with the server."""
    config, loop, limits = uvicorn.Config("app", log_config=None), asyncio.get_running_loop(), Limits()
    one, other = ServerState(), ServerState()
    first = surroundings(config, one, loop, limits)
    assert surroundings(config, one, loop, limits) is first
    assert surroundings(config, other, loop, limits) is not first
    assert first.connections is one.connections
    assert (first.max_bytes, first.limits) == (config.ws_max_size, limits)
    gone = weakref.ref(one)
    del one, first
    gc.collect()
    assert gone() is None
