"""Dropped clients: how much further they would have fallen behind, whether they come back, and whether they recover."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from typing import Final

from ..core.counters import Counters
from ..core.hub import Start
from ..core.publication import Position
from ..core.reasons import CloseReason
from .client import Client, State

REMEMBERED: Final = 1_024  # dropped clients: the oldest makes room for one more
AWAY_SECONDS: Final = 60.0  # after which a client is not waited for any more
# The server gave them up.
DROPPED: Final = frozenset({CloseReason.SLOW, CloseReason.STALLED, CloseReason.MEMORY, CloseReason.NO_PONG})
_CURSOR: Final = attrgetter("cursor")
_BEHIND, _READY = State.BEHIND, State.READY  # as globals: CPython 3.11 makes a call of each attribute of an enum


class Remembered:
    """A client that was dropped.

    Attributes:
        client_id: Its id.
        channel: The channel on which it was furthest behind.
        host: Of its address.
        cursor: Offset of the last publication of that channel that its sink was given.
        end: Payload bytes ever appended there up to `cursor`.
        oldest: When the publication after `cursor` was appended; None: there was none.
        dropped_at: When it was dropped.
        peak: The furthest that it was behind until then: messages, payload bytes, seconds.
    """

    __slots__ = ("channel", "client_id", "cursor", "dropped_at", "end", "host", "oldest", "peak")

    def __init__(self, client: Client, peak: tuple[int, int, float], now: float) -> None:
        self.client_id = client.id
        self.host = _host(client)
        self.channel, queue = max(client.subscriptions.values(), key=lambda place: place.queue.qsize())
        log = queue.log
        self.cursor = queue.cursor
        self.end = log.end - queue.qsize_bytes()
        self.oldest = log.time_at(self.cursor + 1) if self.cursor < log.head else None
        self.dropped_at = now
        self.peak = peak

    @property
    def place(self) -> tuple[str, str]:
        """Where it would come back: the log's epoch, and its host."""
        return self.channel.log.epoch, self.host

    def fallen(self, now: float) -> tuple[int, int, float]:
        """Returns how far behind it would be now: messages, payload bytes, seconds."""
        log = self.channel.log
        age = 0.0 if self.oldest is None else now - self.oldest
        messages, size, seconds = self.peak
        return max(messages, log.head - self.cursor), max(size, log.end - self.end), max(seconds, age)


class DroppedClients:
    """Owns the invariant that each dropped client has one outcome: it came back, in time or late, or stayed away.

    A client comes back where one of the same host resumes on the same log, at or before the place where the other was
    dropped. Several behind one address may be taken for each other: the numbers stay right.

    Args:
        tally: The counters.
        clock: Seconds, on the clock of publications' times.
    """

    def __init__(self, tally: Counters, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._clock = clock
        self._by_id: OrderedDict[str, Remembered] = OrderedDict()  # the longest ago first
        self._by_place: dict[tuple[str, str], list[Remembered]] = {}  # sorted by cursor
        self._back: dict[Client, None] = {}  # clients that came back and are not up to date yet

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, client: Client) -> bool:
        return client.id in self._by_id

    def add(self, client: Client, peak: tuple[int, int, float]) -> None:
        """Remembers a client that was dropped, before its queues are let go of. O(its queues + log remembered)."""
        if not client.subscriptions:
            return
        if len(self._by_id) >= REMEMBERED:
            self._stay_away(next(iter(self._by_id.values())))
        gone = Remembered(client, peak, self._clock())
        self._by_id[gone.client_id] = gone
        insort(self._by_place.setdefault(gone.place, []), gone, key=_CURSOR)

    def resumed(self, client: Client, start: Start, since: Position) -> str:
        """Returns the id of the dropped client that comes back as `client`; empty: none does. O(log remembered)."""
        place = start.channel.log.epoch, _host(client)
        there = self._by_place.get(place) if since.epoch == place[0] else None
        at = bisect_left(there, since.offset, key=_CURSOR) if there else 0
        if not there or at == len(there):
            return ""
        gone = there[at]
        self._forget(gone)
        self._tally.observe_stretch(*gone.fallen(self._clock()))
        self._tally.dropped_clients["returned" if start.gap is None else "returned_late"] += 1
        if len(self._back) < REMEMBERED:
            self._back[client] = None
        return gone.client_id

    def end_audit(self) -> None:
        """Counts who has recovered, and who stays away. O(clients that came back lately)."""
        for client in list(self._back):
            if client.state is _READY:
                self._tally.dropped_clients["recovered"] += 1
            if client.state is not _BEHIND:
                del self._back[client]
        if not self._by_id:
            return
        latest = self._clock() - AWAY_SECONDS
        while self._by_id and (gone := next(iter(self._by_id.values()))).dropped_at <= latest:
            self._stay_away(gone)

    def _stay_away(self, gone: Remembered) -> None:
        self._forget(gone)
        self._tally.observe_stretch(*gone.peak)
        self._tally.dropped_clients["away"] += 1

    def _forget(self, gone: Remembered) -> None:
        del self._by_id[gone.client_id]
        there = self._by_place[gone.place]
        there.remove(gone)
        if not there:
            del self._by_place[gone.place]


def _host(client: Client) -> str:
    return client.address.rpartition(":")[0]
