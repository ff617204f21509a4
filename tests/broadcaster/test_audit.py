from __future__ import annotations

import asyncio

import pytest

from fanwise.broadcaster.audit import audits
from fanwise.broadcaster.event_log import EventLog
from fanwise.broadcaster.registry import ClientRegistry

from ..core.test_hub import make_hub, publish
from ..support.live import until

pytestmark = pytest.mark.anyio


async def test_it_goes_on_until_it_is_cancelled() -> None:
    """Each time logs are cut to their bounds and clients are judged, and it says so."""
    hub = make_hub(history_messages=5, queue_messages=5)
    channel = hub.channel("a", time=0.0)
    for _ in range(9):
        publish(hub, channel)
    ended: list[int] = []
    registry, event_log = (
        ClientRegistry(leave=lambda _: None, stall_seconds=1.0),
        EventLog(memory_bytes=None, late_seconds=1.0),
    )
    audit = audits(hub, registry, event_log, memory_bytes=1 << 30, ended=lambda: ended.append(len(channel.log)))
    task = asyncio.create_task(audit)
    await until(lambda: len(ended) == 2)
    assert ended[0] == 5
    task.cancel()
