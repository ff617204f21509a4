"""The event log: what happens to clients, memory, tasks and time, as log lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ..core.counters import name_of
from ..core.reasons import CloseReason
from ..logs.events import Event, log
from ..logs.limiter import log_left_out
from .dropped import DROPPED
from .registry import ClosedClient

_REPEAT_SECONDS = 60.0  # memory that is short stays so for a while: each minute logs the sum since the last

# Connections end all the time: these are counted, and no more.
_ENDED = {CloseReason.NORMAL, CloseReason.LOST, CloseReason.SHUTDOWN}


class EventLog:
    """Logs what becomes of one broadcaster's clients, memory, tasks and time.

    Args:
        memory_bytes: The bound on logs and transports together; None: unlimited.
        late_seconds: How late the event loop may be.
        clock: Seconds.
    """

    def __init__(
        self, *, memory_bytes: int | None, late_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._memory_bytes = memory_bytes
        self._late_seconds = late_seconds
        self._clock = clock
        self._aborted = 0  # clients that went for want of memory, since the last line
        self._freed_bytes = 0  # history that went for want of memory, since the last line
        self._logged_at: float | None = None  # when short memory was last logged

    def closed(self, gone: ClosedClient) -> None:
        """A client has gone."""
        self._aborted += gone.reason is CloseReason.MEMORY
        if gone.reason in _ENDED:
            return
        log(
            Event.CLIENT_DROPPED if gone.reason in DROPPED else Event.CLIENT_CLOSED,
            client=gone.id,
            address=gone.address,
            reason=gone.text or name_of(gone.reason),
            lag=gone.lag,
            lag_bytes=gone.lag_bytes,
            behind_seconds=gone.behind_seconds or 0.0,
            channels=gone.subscriptions,
        )

    def audited(self, *, freed_bytes: int, retained_bytes: int) -> None:
        """An audit has ended, which let go of so much history for want of memory; so much is left."""
        log_left_out()  # here, as audits go on in every application
        self._freed_bytes += freed_bytes
        now = self._clock()
        lately = self._logged_at is not None and now - self._logged_at < _REPEAT_SECONDS
        if lately or not (self._freed_bytes or self._aborted):
            return
        log(
            Event.MEMORY_SHORT,
            freed_bytes=self._freed_bytes,
            aborted=self._aborted,
            retained_bytes=retained_bytes,
            memory_bytes=self._memory_bytes,
        )
        self._logged_at = now
        self._freed_bytes = self._aborted = 0

    def looked(self, late_seconds: float) -> None:
        """The event loop was so late."""
        if late_seconds > self._late_seconds:
            log(Event.LOOP_LATE, late_seconds=late_seconds, limit_seconds=self._late_seconds)

    def audit_ended(self, task: asyncio.Task[Any]) -> None:
        """The audit's task has ended: when the broadcaster stops, not by itself."""
        log_left_out(quiet_seconds=0)
        if not task.cancelled():
            log(Event.AUDIT_DIED, error=task.exception())

    def writer_failed(self, client_id: str, error: BaseException) -> None:
        """Serving a client, or closing it, has raised `error`."""
        log(Event.WRITER_DIED, client=client_id, error=error)
