"""One server for a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from ...support.nats import NatsEngine, NatsServer, nats_server

_NUMBERS = count()


@pytest.fixture(scope="package")
def server() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def engine(server: NatsServer) -> AsyncIterator[NatsEngine]:
    async with NatsEngine(server, f"p{next(_NUMBERS)}", check_seconds=0.2) as engine:
        yield engine
