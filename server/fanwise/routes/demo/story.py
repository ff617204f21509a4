"""The script of the demo: its phases, and when each of them ends. No I/O, no clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Phase(StrEnum):
    """The phases of a story, in their order."""

    CONNECTING = "connecting"  # clients come
    CALM = "calm"  # all of them read
    STOPPED = "stopped"  # one on each side does not read any more
    DROPPED = "dropped"  # Fanwise has dropped its one
    RETURNING = "returning"  # that one is on its way back
    BACK = "back"  # it has all that it missed, or knows what is lost
    OVER = "over"


CALM_SECONDS: Final = 3.0
AWAY_SECONDS: Final = 2.0  # between the drop and the way back
END_SECONDS: Final = 4.0  # to look at, after the return
MOST_SECONDS: Final = {Phase.CONNECTING: 10.0, Phase.STOPPED: 20.0, Phase.RETURNING: 10.0}
# A story takes less than this, whatever happens.
STORY_SECONDS: Final = CALM_SECONDS + AWAY_SECONDS + END_SECONDS + sum(MOST_SECONDS.values())


class Seen(NamedTuple):
    """How things stand, as far as the script depends on them."""

    connected: bool  # all clients of both sides
    dropped: bool  # the client of Fanwise that stopped
    caught_up: bool  # the same client, after its return


class Story:
    """Owns the invariant that phases follow each other in their order, and that each has an end.

    Attributes:
        phase: The present phase.
    """

    def __init__(self, now: float) -> None:
        self.phase = Phase.CONNECTING
        self._since = now  # of the phase (monotonic seconds)

    def turn(self, now: float, seen: Seen) -> bool:
        """Looks how things stand; returns whether another phase begins. None ends before its time."""
        following = self._following(now - self._since, seen)
        if following is None:
            return False
        self.phase, self._since = following, now
        return True

    def _following(self, lasted: float, seen: Seen) -> Phase | None:
        is_late = lasted >= MOST_SECONDS.get(self.phase, float("inf"))
        if self.phase is Phase.CONNECTING:
            return Phase.CALM if seen.connected or is_late else None
        if self.phase is Phase.CALM:
            return Phase.STOPPED if lasted >= CALM_SECONDS else None
        if self.phase is Phase.STOPPED and seen.dropped:
            return Phase.DROPPED
        if self.phase is Phase.DROPPED:
            return Phase.RETURNING if lasted >= AWAY_SECONDS else None
        if self.phase is Phase.RETURNING and seen.caught_up:
            return Phase.BACK
        is_late = is_late or (self.phase is Phase.BACK and lasted >= END_SECONDS)
        return Phase.OVER if is_late else None
