"""Traffic that was recorded, to be played again: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import NamedTuple


class Range(NamedTuple):
    """The least and the greatest of the values that clients take."""

    low: float
    high: float

    def even(self, chance: Random) -> float:
        """Returns a value; each is as likely as any other."""
        return chance.uniform(self.low, self.high)

    def logarithmic(self, chance: Random) -> float:
        """Returns a value; each factor is as likely as any other: half of 10 to 1000 are below 100."""
        return float(self.low * (self.high / self.low) ** chance.random())


class Message(NamedTuple):
    """A message: when it was published, in seconds from the beginning; its size; its key, or None."""

    at_seconds: float
    size_bytes: int
    key: str | None = None


class RecordedReader(NamedTuple):
    """A client that was behind at times.

    Attributes:
        channel: The number of its channel.
        pieces: How it read: (from when on, bytes a second), in seconds from the beginning.
        begins: When it came; 0: it was there.
        ends: When it went by itself; None: it stayed.
        away_seconds: After a drop it comes back so much later and resumes; None: it stays away.
    """

    channel: int
    pieces: tuple[tuple[float, float], ...]
    begins: float = 0.0
    ends: float | None = None
    away_seconds: Range | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was published, and how clients read.

    Attributes:
        channels: The messages of each channel, in the order of time.
        readers: The clients that were ever behind.
        healthy: How many clients there were beside them.
        seconds: How long it lasts.
    """

    channels: tuple[tuple[Message, ...], ...]
    readers: tuple[RecordedReader, ...]
    healthy: int
    seconds: float
