"""Publishing: what it costs whoever publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.broadcaster.node import Node
from fanwise.core.encoding import plain_frame
from fanwise.core.lease import Lease

from .ready_channel import PAYLOAD, NoMember

ROUNDS = 2000


@pytest.mark.parametrize("paused", [False, True], ids=["ready", "paused"])
@pytest.mark.parametrize("clients", [1, 10_000])
def test_publish_nowait(
    benchmark: BenchmarkFixture, descriptors: Callable[[int], list[int]], clients: int, paused: bool
) -> None:
    """Guards that publishing is O(1): the same to 1 and to 10,000 clients, and clients that are paused cost nothing."""
    benchmark.group = "publish_nowait"
    text = PAYLOAD.decode()
    with asyncio.Runner() as runner:

        async def start() -> Node:
            broadcaster = await Node(queue_messages=100_000, queue_bytes=1 << 30, memory_bytes=None).__aenter__()
            place = broadcaster._hub.channel("lobby", time=0.0)
            for fd in descriptors(clients):
                queue = broadcaster._hub.subscribe(place.name, time=0.0).queue
                if not paused:
                    place.group(plain_frame).join(queue, NoMember(), lease=Lease(fd))
            return broadcaster

        broadcaster = runner.run(start())
        place = broadcaster._hub.channel("lobby", time=0.0)
        assert broadcaster._publisher._sweeper is not None

        def sweep() -> None:
            assert broadcaster._publisher._sweeper is not None
            broadcaster._publisher._sweeper.flush(place)

        benchmark.pedantic(
            lambda: [broadcaster.publish_nowait("lobby", text) for _ in range(100)],
            setup=sweep,
            rounds=200 if benchmark.enabled else 1,
        )
        runner.run(broadcaster.__aexit__())
