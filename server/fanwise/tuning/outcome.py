"""The settings that a replay tries, and what the replay has shown: drops, losses, ages and memory."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ..core.reasons import CloseReason

_DROPPED = (CloseReason.SLOW, CloseReason.STALLED, CloseReason.MEMORY, CloseReason.NO_PONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One choice of settings, with the names, units and defaults of `FANWISE_*`."""

    queue_messages: int = 1024
    queue_bytes: int = 1_048_576
    overflow: str = "disconnect"
    stall_seconds: float = 10.0
    forgive_seconds: float | None = None
    ping_seconds: float = 15.0
    pong_seconds: float = 8.0
    history_messages: int = 1000
    history_bytes: int = 4_194_304
    history_seconds: float = 300.0
    memory_bytes: int = 1_073_741_824
    close_seconds: float = 5.0
    slice_bytes: int = 262_144

    @classmethod
    def of(cls, limits: Mapping[str, Any]) -> Candidate:
        """Returns the settings that a server names in its `limits`; the defaults for those that it does not name."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in limits.items() if name in known and value is not None})

    def differences(self, other: Candidate) -> dict[str, Any]:
        """Returns {setting: value here} of the settings that are different in `other`."""
        return {name: value for name, value in self.as_settings().items() if value != getattr(other, name)}

    def as_settings(self) -> dict[str, Any]:
        """Returns {setting: value}."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


class Drop(NamedTuple):
    """A client that was closed.

    Attributes:
        time: When.
        reader: Its name.
        reason: Why.
        lag: Publications that it still had to get.
        behind_seconds: How old the oldest of these was.
    """

    time: float
    reader: str
    reason: CloseReason
    lag: int
    behind_seconds: float


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The outcome of one replay.

    Attributes:
        candidate: The settings.
        seconds: How long the scene lasted.
        clients: All clients of the scene.
        readers: Those that were simulated.
        publications: How many there were.
        drops: By time.
        skipped: Publications that clients did not get while they were connected, once per client.
        missed: Publications that the log did not have any more for clients that came back, once per client.
        returns: Connections that resumed.
        recovered: Those of them that missed nothing.
        ages: Seconds from publication to reading, of what simulated readers have read.
        log_bytes: Memory of the logs at worst, estimated.
        buffered_bytes: Memory of transports at worst.
        memory_bytes: Both together at worst.
        widest_lag: The most publications that a client was seen behind.
        outrun: Audits at which most clients were behind: the producer would have been made to wait.
        audits: How many there were.
    """

    candidate: Candidate
    seconds: float
    clients: int
    readers: int
    publications: int
    drops: list[Drop] = field(default_factory=list)
    skipped: int = 0
    missed: int = 0
    returns: int = 0
    recovered: int = 0
    ages: array[float] = field(default_factory=lambda: array("d"))
    log_bytes: int = 0
    buffered_bytes: int = 0
    memory_bytes: int = 0
    widest_lag: int = 0
    outrun: int = 0
    audits: int = 0
    _sorted: bool = False

    @property
    def dropped(self) -> int:
        """Connections that the server closed for being slow, stalled, silent or too expensive."""
        return sum(drop.reason in _DROPPED for drop in self.drops)

    @property
    def dropped_readers(self) -> int:
        """Clients that were dropped at least once."""
        return len({drop.reader for drop in self.drops if drop.reason in _DROPPED})

    @property
    def reasons(self) -> dict[str, int]:
        """{reason: connections closed for it}."""
        return dict(Counter(drop.reason.name.lower() for drop in self.drops))

    @property
    def lost(self) -> int:
        """Publications that clients never got: skipped, or missed when they came back."""
        return self.skipped + self.missed

    def age(self, share: float) -> float | None:
        """Returns the age that this share of the publications had at most when they were read; None without any."""
        if not self.ages:
            return None
        if not self._sorted:
            self.ages, self._sorted = array("d", sorted(self.ages)), True
        return self.ages[min(int(share * len(self.ages)), len(self.ages) - 1)]
