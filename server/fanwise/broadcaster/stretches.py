"""Stretches: for how long clients were behind, how far, and for how long their connections took nothing.

A stretch begins with the first audit that finds a client behind, and ends with the first one that does not. All times
are therefore known to a quarter of a second. A client that is behind between two audits only is not seen.
"""

from __future__ import annotations

from typing import Final

from ..core.counters import Counters
from .client import Client, State
from .registry import ClientRegistry, Watch

PAUSE_SECONDS: Final = 0.375  # one and a half audits: who takes something between all audits takes no pause
_CLOSING, _CLOSED = State.CLOSING, State.CLOSED  # as globals: CPython 3.11 makes a call of each attribute of an enum


class Stretches:
    """Owns the invariant that each stretch is counted once, when it is over.

    A client that is dropped is not counted here: `DroppedClients` sees how much further it falls.

    Args:
        registry: The clients that are behind.
        tally: The counters.
    """

    def __init__(self, registry: ClientRegistry, tally: Counters) -> None:
        self._registry = registry
        self._tally = tally
        self._before: dict[Client, Watch] = {}  # of the latest audit
        self._now: dict[Client, Watch] = {}  # of this one, so far

    def look(self, client: Client, watch: Watch, now: float) -> None:
        """Keeps how far behind a client is, in an audit that has just had its verdict. O(its queues)."""
        self._now[client] = watch
        watch.note(client, now)
        if watch.moved_at != watch.paused_at:
            self._count_pause(watch.moved_at - watch.paused_at)
            watch.paused_at = watch.moved_at

    def end_audit(self, now: float) -> None:
        """Counts the stretches that are over. O(clients that were behind)."""
        before, self._before, self._now = self._before, self._now, {}
        for client, watch in before.items():
            if self._before.get(client) is not watch:
                self._count(client, watch, now)

    def _count(self, client: Client, watch: Watch, now: float) -> None:
        tally = self._tally
        if client.state is _CLOSING or client.state is _CLOSED:
            if client in self._registry.dropped:
                self._count_pause(watch.seen_at - watch.paused_at)
                return
        else:
            tally.catch_up.observe(now - watch.began_at)
            self._count_pause(now - watch.paused_at)
        tally.observe_stretch(watch.messages, watch.size_bytes, watch.age_seconds)

    def _count_pause(self, seconds: float) -> None:
        if seconds >= PAUSE_SECONDS:
            self._tally.pause.observe(seconds)
