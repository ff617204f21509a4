"""The audit: four times a second everything is brought back within its bounds, and those who are behind are judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..core.hub import Hub
from .event_log import EventLog
from .registry import AUDIT_SECONDS, ClientRegistry

_TURN_SECONDS = 0.002  # for which judging holds the loop in one turn: ten thousand who are behind take 27 ms


async def audits(
    hub: Hub, registry: ClientRegistry, event_log: EventLog, *, memory_bytes: int | None, ended: Callable[[], None]
) -> None:
    """Goes on for ever. Publishing looks at no client and at no log's age: this does. O(clients that are behind).

    Args:
        hub: Whose logs and channels are kept within their bounds.
        registry: Whose clients are judged.
        event_log: Told what had to go for want of memory.
        memory_bytes: What logs and transports may hold together; None for any.
        ended: Called after each audit.
    """
    clock = time.monotonic  # what event loops count by, but for one that stands still during a turn
    while True:
        await asyncio.sleep(AUDIT_SECONDS)
        now = clock()
        hub.trim(now)
        hub.expire(now)
        freed_bytes = hub.charged_bytes
        if memory_bytes is not None:
            hub.fit(memory_bytes)
        freed_bytes -= hub.charged_bytes
        turn_ends_at = clock() + _TURN_SECONDS
        for _ in registry.audit_in_steps(clock, retained_bytes=hub.charged_bytes):
            if clock() >= turn_ends_at:
                await asyncio.sleep(0)
                turn_ends_at = clock() + _TURN_SECONDS
        event_log.audited(freed_bytes=freed_bytes, retained_bytes=hub.charged_bytes)
        ended()
