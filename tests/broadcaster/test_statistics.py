from __future__ import annotations

import pytest

from fanwise.broadcaster.node import Node

from ..support.live import until
from .test_node import joined

pytestmark = pytest.mark.anyio


async def test_it_tells_who_is_here_and_how_far_behind() -> None:
    """Clients with their lag, channels with what they retain, and how many were served."""
    async with Node() as broadcaster, joined(broadcaster) as (client, sink), joined(broadcaster):
        await until(lambda: broadcaster.statistics().channels[0].ready == 2)
        sink.pause()
        for _ in range(3):
            await broadcaster.publish("lobby", "1234")
        await until(lambda: broadcaster.statistics().channels[0].deliveries == 3)
        statistics = broadcaster.statistics()
        behind, ready = statistics.clients
        assert (behind.id, behind.state, behind.channels, behind.lag, behind.lag_bytes) == (
            client.id,
            "behind",
            ("lobby",),
            3,
            12,
        )
        assert (ready.state, ready.lag) == ("ready", 0)
        (channel,) = statistics.channels
        assert (channel.name, channel.clients, channel.ready, channel.head) == ("lobby", 2, 1, 3)
        assert (channel.retained, channel.retained_bytes, channel.deliveries) == (3, 12, 3)
        assert statistics.publications == 3
