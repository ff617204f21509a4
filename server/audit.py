"""The audit: four times a second everything is brought back within its bounds, and those who are behind are judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .hub import Hub
from .notices import Notices
from .roster import AUDIT_SECONDS, Roster


async def audits(
    hub: Hub, roster: Roster, notices: Notices, *, memory_bytes: int | None, ended: Callable[[], None]
) -> None:
    """Goes on for ever. Publishing looks at no client and at no log's age: this does. O(clients that are behind).

    Args:
        hub: Whose logs and channels are kept within their bounds.
        roster: Whose clients are judged.
        notices: Told what had to go for want of memory.
        memory_bytes: What logs and transports may hold together; None for any.
        ended: Called after each audit.
    """
    while True:
        await asyncio.sleep(AUDIT_SECONDS)
        now = asyncio.get_running_loop().time()
        hub.trim(now)
        hub.expire(now)
        freed_bytes = hub.charged_bytes
        if memory_bytes is not None:
            hub.fit(memory_bytes)
        freed_bytes -= hub.charged_bytes
        roster.audit(now, retained_bytes=hub.charged_bytes)
        notices.audited(freed_bytes=freed_bytes, retained_bytes=hub.charged_bytes)
        ended()
