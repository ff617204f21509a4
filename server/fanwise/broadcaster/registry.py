"""The registry: the clients of this process, and the judgement over those of them that are behind.

Publishing does not look at clients: who is slow, stalled or too expensive is found out four times a second, by time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..core.counters import Counters
from ..core.queue import Overflow
from ..core.reasons import CloseReason
from .client import Client, State

_FAREWELLS = 200  # how many of those who have gone are remembered: what fits on a page
_STEP_CLIENTS = 64  # judged between two steps of an audit: less than a fifth of a millisecond
AUDIT_SECONDS = 0.25  # between two audits; a client is slow that was over its bounds from one to the next


def overflowed(client: Client) -> bool:
    """Whether its connection holds it up and a queue that must not overflow has. O(its queues)."""
    return client.outbox.held_up and any(
        queue.overflow is Overflow.DISCONNECT and queue.overflowed() for _, queue in client.subscriptions.values()
    )


def cursors(client: Client) -> int:
    """A number that grows with each publication that its sink is given. O(its queues)."""
    return sum(queue.cursor for _, queue in client.subscriptions.values())


def lag(client: Client) -> int:
    """Publications that it still has to get, in its queues and in its outbox's hand. O(its queues)."""
    return client.outbox.in_flight + sum(queue.qsize() for _, queue in client.subscriptions.values())


def _note_lags(client: Client) -> int:
    """Keeps how far behind each of its queues is; returns the sum. O(its queues)."""
    total = 0
    for channel, queue in client.subscriptions.values():
        behind = queue.qsize()
        if behind > queue.peak:
            channel.note_lag(queue, behind)
        total += behind
    return total


def lag_bytes(client: Client) -> int:
    """What it still has to get, in its queues and in its sink. O(its queues)."""
    return client.sink.buffered_bytes + sum(queue.qsize_bytes() for _, queue in client.subscriptions.values())


class Farewell(NamedTuple):
    """A client that has gone."""

    id: str
    address: str
    reason: CloseReason
    unix_seconds: float  # when
    lag: int = 0  # publications that it still had to get
    lag_bytes: int = 0  # their payload, and what waited in user space for its socket
    subscriptions: int = 0  # channels that it was on
    behind_seconds: float | None = None  # for how long it had been behind; None if it was not


class Watch:
    """What the last audit saw of a client that is behind."""

    __slots__ = ("began_at", "buffered_bytes", "cursors", "moved_at", "over_since")

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.cursors = -1
        self.buffered_bytes = 0
        self.moved_at = now  # when its connection last took something, as far as audits can see
        self.over_since = -1  # its `recoveries` when it was first seen over its bounds; -1 while it is within

    def moved(self, client: Client) -> bool:
        """Whether the connection has taken something since the last look, or has nothing to take."""
        before = self.cursors, self.buffered_bytes
        self.cursors, self.buffered_bytes = cursors(client), client.sink.buffered_bytes
        return not client.outbox.held_up or self.cursors != before[0] or self.buffered_bytes < before[1]


class ClientRegistry:
    """Owns the invariant that a client is here once, from its start until it is closing or closed.

    Args:
        leave: Called once for each client that goes, to let go of its queues.
        stall_seconds: How long a connection may take nothing while something waits for it.
        memory_bytes: What logs and transports may hold together, before those furthest behind go; None for no limit.
        tally: Where it is counted.
        on_farewell: Told of each client that has gone.
    """

    def __init__(
        self,
        *,
        leave: Callable[[Client], None],
        stall_seconds: float,
        memory_bytes: int | None = None,
        tally: Counters | None = None,
        on_farewell: Callable[[Farewell], None] = lambda _gone: None,
    ) -> None:
        self._leave = leave
        self._tally = tally or Counters()
        self._on_farewell = on_farewell
        self.stall_seconds = stall_seconds
        self._memory_bytes = memory_bytes
        self._clients: dict[str, Client] = {}  # {client id: client}
        self._behind: dict[Client, Watch | None] = {}  # {client that is not ready: what the last audit saw of it}
        self._audited_at: float | None = None  # when the latest audit began
        self._audit_ended_at: float | None = None
        self.farewells: deque[Farewell] = deque(maxlen=_FAREWELLS)  # the latest last

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients.values())

    def find(self, client_id: str) -> Client | None:
        """The client with that id, unless it is closing or closed. O(1)."""
        return self._clients.get(client_id)

    def behind_seconds(self, client: Client) -> float | None:
        """For how long audits have found it behind; None if the last one has not. O(1)."""
        watch = self._behind.get(client)
        return None if watch is None or self._audited_at is None else self._audited_at - watch.began_at

    def add(self, client: Client) -> None:
        """Takes in a client, which is behind until it says otherwise."""
        self._tally.connections += client.id not in self._clients
        self._clients[client.id] = client
        self._behind[client] = None

    def changed(self, client: Client) -> None:
        """Hears that the state of `client` has changed. O(1), or O(its queues) when it goes."""
        if client.state is State.READY:
            self._behind.pop(client, None)
        elif client.state is State.BEHIND:
            self._behind.setdefault(client, None)
        elif self._clients.pop(client.id, None) is not None:
            self._part(client)

    def _part(self, client: Client) -> None:
        """Closes the books on a client."""
        gone = Farewell(
            client.id,
            client.address,
            client.reason or CloseReason.NORMAL,
            time.time(),
            lag=lag(client),
            lag_bytes=lag_bytes(client),
            subscriptions=len(client.subscriptions),
            behind_seconds=self.behind_seconds(client),
        )
        if client in self._behind:
            _note_lags(client)
            del self._behind[client]
        self._tally.close(gone.reason, lag=gone.lag)
        self.farewells.append(gone)
        self._leave(client)
        self._on_farewell(gone)

    @property
    def behind_count(self) -> int:
        """How many are not up to date right now. O(1)."""
        return len(self._behind)

    @property
    def behind(self) -> list[Client]:
        """Who is not up to date right now, in the order in which they fell behind. O(them)."""
        return list(self._behind)

    def audit(self, now: float, *, retained_bytes: int) -> None:
        """Ends the clients that are slow or stalled, and the most expensive ones when memory is short. O(behind)."""
        for _ in self.audit_in_steps(lambda: now, retained_bytes=retained_bytes):
            pass

    def audit_in_steps(self, clock: Callable[[], float], *, retained_bytes: int) -> Iterator[None]:
        """The same, some clients between two steps: whoever calls may let others have their turns there.

        When the loop itself was late, nobody could be served: all who are behind start afresh.
        """
        now = clock()
        late = self._audit_ended_at is not None and now - self._audit_ended_at > 2 * AUDIT_SECONDS
        self._audited_at = now
        self._tally.lag.observe(0, len(self._clients) - len(self._behind))
        for number, client in enumerate(list(self._behind), 1):
            if client in self._behind:  # it may have gone, or caught up, since the first step
                self._judge(client, now, late=late)
            if number % _STEP_CLIENTS == 0:
                yield
        if self._memory_bytes is not None:
            yield from self._relieve(self._memory_bytes, retained_bytes)
        self._audit_ended_at = clock()

    def _judge(self, client: Client, now: float, *, late: bool) -> None:
        self._tally.lag.observe(_note_lags(client))
        watch = self._behind[client]
        if watch is None or late:
            watch = self._behind[client] = Watch(now)
            watch.moved(client)
            watch.over_since = client.recoveries if overflowed(client) else -1
            return
        if watch.moved(client):
            watch.moved_at = now
        elif now - watch.moved_at >= self.stall_seconds:
            client.abort(CloseReason.STALLED)
            return
        if not overflowed(client):
            watch.over_since = -1
        elif watch.over_since == client.recoveries:
            client.close(CloseReason.SLOW, within_seconds=self.stall_seconds)
        else:
            watch.over_since = client.recoveries

    def _relieve(self, memory_bytes: int, retained_bytes: int) -> Iterator[None]:
        """Aborts those who are furthest behind of those whose leaving frees something, until the rest fits."""
        held = {client: client.sink.buffered_bytes for client in self._behind if client.sink.buffered_bytes}
        excess = retained_bytes + sum(held.values()) - memory_bytes
        if excess <= 0:
            return
        for number, client in enumerate(sorted(held, key=lag_bytes, reverse=True), 1):
            if excess <= 0:
                return
            excess -= held[client]
            client.abort(CloseReason.MEMORY)
            if number % _STEP_CLIENTS == 0:
                yield
