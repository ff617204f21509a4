"""Traffic: sizes and rates of publications."""

from __future__ import annotations

import pytest

from fanwise.broadcaster.traffic import Traffic

from ..core.test_hub import make_hub, publish

pytestmark = pytest.mark.anyio


async def test_each_publication_is_counted_once() -> None:
    """With the average size since the last look; the rate is that of the time between two looks."""
    hub = make_hub()
    traffic = Traffic(hub)
    a, b = (hub.channel(name, time=0.0) for name in "ab")
    publish(hub, a, b"x" * 100)
    await traffic.look(0.0)
    assert (hub.tally.message_bytes.count, hub.tally.message_bytes.sum) == (1, 100)
    assert hub.tally.channel_rate.count == 0, "since when is unknown"
    for size in (100, 300):
        publish(hub, a, b"x" * size)
    publish(hub, b, b"x")
    await traffic.look(0.25)
    hub.retention.trim(0.25)
    await traffic.look(0.5)
    assert (hub.tally.message_bytes.count, hub.tally.message_bytes.sum) == (4, 501)
    assert (hub.tally.channel_rate.count, hub.tally.channel_rate.sum) == (2, 8 + 4)
    assert (a.most_per_second, b.most_per_second) == (8.0, 4.0)
    publish(hub, a, b"x")
    await traffic.look(0.75)
    assert a.most_per_second == 8.0


async def test_a_log_that_is_cut_between_two_looks_is_counted_whole() -> None:
    """Bounds let go of publications before an audit comes."""
    hub = make_hub(history_messages=10)
    channel = hub.channel("a", time=0.0)
    for _ in range(500):
        publish(hub, channel, b"xy")
    hub.retention.trim(0.0)
    publish(hub, channel, b"xy")
    await Traffic(hub).look(0.0)
    assert (hub.tally.message_bytes.count, hub.tally.message_bytes.sum) == (501, 1002)
