"""Stretches: for how long clients were behind, how far, and for how long their connections took nothing.

A stretch begins with the first audit that finds a client behind, and is counted by the first one after its end. All
times are therefore known to a quarter of a second. A client that is behind between two audits only is not seen.
"""

from __future__ import annotations

from typing import Final

from ..core.counters import Counters
from .registry import ClientRegistry, End, Watch
from .turns import TURN_SECONDS, in_turns

PAUSE_SECONDS: Final = 0.375  # one and a half audits: who takes something between all audits takes no pause
_CAUGHT_UP, _DROPPED = End.CAUGHT_UP, End.DROPPED  # as globals: CPython 3.11 makes a call of each attribute of an enum


class Stretches:
    """Owns the invariant that each stretch is counted once, when it is over.

    A client that is dropped is not counted here: `DroppedClients` sees how much further it falls.

    Args:
        registry: The notes on clients that were behind.
        tally: The counters.
        turn_seconds: How long counting holds the event loop in one turn.
    """

    def __init__(self, registry: ClientRegistry, tally: Counters, *, turn_seconds: float = TURN_SECONDS) -> None:
        self._registry = registry
        self._tally = tally
        self._turn_seconds = turn_seconds

    async def end_audit(self, now: float) -> None:
        """Counts the stretches that are over. O(them), in turns of the event loop."""
        ended, self._registry.ended = self._registry.ended, []
        if ended:
            await in_turns(lambda watch: self._count(watch, now), ended, turn_seconds=self._turn_seconds)

    def count_pause(self, seconds: float) -> None:
        """Counts a time in which a connection took nothing, unless that was too short to be seen."""
        if seconds >= PAUSE_SECONDS:
            self._tally.pause.observe(seconds)

    def _count(self, watch: Watch, now: float) -> None:
        if watch.end is _DROPPED:
            self.count_pause(watch.seen_at - watch.moved_at)
            return
        if watch.end is _CAUGHT_UP:
            self._tally.catch_up.observe(now - watch.began_at)
            self.count_pause(now - watch.moved_at)
        self._tally.observe_stretch(watch.messages, watch.size_bytes, watch.age_seconds)
