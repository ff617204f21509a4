"""The audit: four times a second everything is brought back within its bounds, and clients that are behind are judged.

Publishing looks at no client and at no log's age: audits find out, by time, who is slow, stalled or too expensive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from ..core.hub import Hub
from ..core.reasons import CloseReason
from .client import Client
from .event_log import EventLog
from .registry import ClientRegistry, Watch
from .sink import asked
from .stretches import Stretches
from .traffic import Traffic
from .turns import TURN_SECONDS, in_turns

_ASKED_PER_STALL = 4  # so that two questions in a row stay without an answer within `stall_seconds`
AUDIT_SECONDS = 0.25  # between two audits; a client is slow that was over its bounds from one to the next

# Sent to a client that is slow among many: more than half of the channel's clients are behind.
PRODUCER = "slow: the producer is faster than most readers"


class Witness(Protocol):
    """Sees what audits see."""

    def audited(self, now: float) -> None:
        """An audit begins."""

    def sample(self, client: Client, now: float) -> None:
        """An audit looks at a client that is behind."""


class Audit:
    """Owns the invariant that nothing stays over its bounds: no log, no memory, no client that takes nothing.

    Args:
        hub: The logs and channels that are kept within their bounds.
        registry: The clients that are judged.
        event_log: Notified of what had to go for want of memory.
        stall_seconds: How long a connection may take nothing while something waits for it.
        memory_bytes: The bound on logs and transports together: above it clients go. None: unlimited.
        ended: Called after each audit.
        turn_seconds: How long judging holds the event loop in one turn: 10,000 clients that are behind take 27 ms.
        clock: Seconds. The clock of event loops, except for loops whose clock stands still during a turn.

    Attributes:
        answer_bytes: Memory of HTTP answers that are being sent. History makes room for them.
        witness: Notified of each audit and of each client in it, before the verdict; None: nobody is.
    """

    def __init__(
        self,
        hub: Hub,
        registry: ClientRegistry,
        event_log: EventLog,
        *,
        stall_seconds: float,
        memory_bytes: int | None = None,
        ended: Callable[[], None] = lambda: None,
        turn_seconds: float = TURN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stall_seconds = stall_seconds
        self.memory_bytes = memory_bytes
        self.answer_bytes = 0
        self._pause_seconds = max(hub.retention.history_seconds, stall_seconds)  # beyond, nothing is left to give
        self._doubt_seconds = stall_seconds / 2  # after that the kernel's answers are looked at
        self.witness: Witness | None = None
        self._hub = hub
        self._registry = registry
        self._event_log = event_log
        self._ended = ended
        self._clock = clock
        self._turn_seconds = turn_seconds
        self._stretches = Stretches(registry, hub.tally, turn_seconds=turn_seconds)
        self._traffic = Traffic(hub)
        self._ended_at: float | None = None  # when the latest audit ended

    async def run(self) -> None:
        """Audits until it is cancelled."""
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            await self.once()
            self._ended()

    async def once(self) -> None:
        """One audit. O(clients that are behind + channels that were published to), in turns of the event loop."""
        retention, now = self._hub.retention, self._clock()
        await self._traffic.look(now)
        retention.trim(now)
        retention.expire(now)
        freed_bytes = retention.charged_bytes
        if self.memory_bytes is not None:
            retention.fit(self.memory_bytes - self.answer_bytes)
        freed_bytes -= retention.charged_bytes
        await self._judge_all(now)
        if self.memory_bytes is not None:
            await self._relieve(self.memory_bytes)
        await self._stretches.end_audit(now)
        self._registry.dropped.end_audit()
        self._ended_at = self._clock()
        self._event_log.audited(freed_bytes=freed_bytes, retained_bytes=retention.charged_bytes)

    async def _judge_all(self, now: float) -> None:
        """Judges each client that is behind. After a late loop all begin afresh: no client could be served."""
        registry = self._registry
        late = self._ended_at is not None and now - self._ended_at > 2 * AUDIT_SECONDS
        self._hub.tally.lag.observe(0, len(registry) - len(registry.behind))
        if self._hub.namespaces.forgive and not late:
            await self._age(now)

        def judge(client: Client) -> None:
            if client in registry.behind:  # it may have gone, or caught up, in a turn before this one
                self._judge(client, now, late=late)

        if self.witness is not None:
            await self._show(self.witness, now)
        await in_turns(judge, registry.behind, turn_seconds=self._turn_seconds)

    async def _age(self, now: float) -> None:
        """Takes as too old what is older than the channels' `forgive_seconds`, where clients are behind."""
        await in_turns(
            lambda client: client.subscriptions.age(now), self._registry.behind, turn_seconds=self._turn_seconds
        )

    async def _show(self, witness: Witness, now: float) -> None:
        behind = self._registry.behind
        witness.audited(now)
        await in_turns(
            lambda client: witness.sample(client, now) if client in behind else None,
            behind,
            turn_seconds=self._turn_seconds,
        )

    def _judge(self, client: Client, now: float, *, late: bool) -> None:
        watch = self._registry.behind[client]
        new = watch is None
        if watch is None:
            watch = self._registry.behind[client] = Watch(now)
        moved = watch.look(client, now)
        self._hub.tally.lag.observe(watch.lag)
        if new or late:
            watch.moved_at = watch.answered_at = now
            watch.over_since = client.recoveries if watch.over else -1
            return
        if moved:
            self._stretches.count_pause(now - watch.moved_at)
            watch.moved_at = watch.answered_at = now
        elif now - watch.moved_at >= self._doubt_seconds and self._stalled(client, watch, now):
            client.abort(CloseReason.STALLED)
            return
        if not watch.over:
            watch.over_since = -1
        elif watch.over_since != client.recoveries:
            watch.over_since = client.recoveries
        elif client.subscriptions.starved():
            client.close(CloseReason.MEMORY, within_seconds=self.stall_seconds)
        else:
            text = PRODUCER if client.outrun else ""
            client.close(CloseReason.SLOW, text=text, within_seconds=self.stall_seconds)

    def _stalled(self, client: Client, watch: Watch, now: float) -> bool:
        """Returns whether a connection that takes nothing has to go, by what its peer's kernel answers if that counts.

        One packet without an answer may have been lost; two in a row, for half of `stall_seconds` at least, have not.
        """
        idle_seconds = now - watch.moved_at
        sink = asked(client.sink) if client.subscriptions.skips() else None
        if sink is None:
            return idle_seconds >= self.stall_seconds
        unanswered = sink.unanswered_packets()
        if unanswered == 0:
            watch.answered_at = now
        if idle_seconds < self.stall_seconds:
            return False
        if not watch.asked:
            watch.asked = True
            sink.ask_every(self.stall_seconds / _ASKED_PER_STALL)
        silent = unanswered != 1 and now - watch.answered_at >= self.stall_seconds
        return silent or idle_seconds >= self._pause_seconds

    async def _relieve(self, memory_bytes: int) -> None:
        """Aborts clients that hold memory, those with most bytes to get or received first, until the rest fits."""
        held = {client: client.sink.buffered_bytes for client in self._registry.behind if client.sink.buffered_bytes}
        for client in self._registry.receiving:
            held[client] = client.sink.buffered_bytes + client.received_bytes
        excess = self._hub.retention.charged_bytes + sum(held.values()) + self.answer_bytes - memory_bytes
        doomed = []
        for client in sorted(held, key=_weight, reverse=True) if excess > 0 else ():
            if excess > 0:
                excess -= held[client]
                doomed.append(client)
        await in_turns(lambda client: client.abort(CloseReason.MEMORY), doomed, turn_seconds=self._turn_seconds)


def _weight(client: Client) -> int:
    """Returns the bytes that the client still has to get, plus its own bytes that wait to be read. O(its queues)."""
    return client.lag_bytes + client.received_bytes
