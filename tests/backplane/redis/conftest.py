"""One server for a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from ...support.engines import RedisEngine, RedisServer, redis_server

_NUMBERS = count()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def engine(server: RedisServer) -> AsyncIterator[RedisEngine]:
    async with RedisEngine(server, f"p{next(_NUMBERS)}", check_seconds=0.2) as engine:
        yield engine
