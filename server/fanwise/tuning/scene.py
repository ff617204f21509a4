"""The scene of a replay: what is published, and the readers with their sockets. Comes from a plan or from a trace."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from ..core.dialect import JSON, PLAIN, SSE, SSE_JSON
from ..core.forgiven import hidden_bytes

DIALECTS: Final = {dialect.name: dialect for dialect in (PLAIN, JSON, SSE, SSE_JSON)}
FAST_BYTES: Final = 50e6  # a second: what a client takes that is not slow
# What a slow reader's kernel does, measured on loopback with `benchmarks.accuracy_rooms`, a buffer of 64 KiB. Senders
# make segments of half the widest window so far, and a reader's kernel lets go of them whole. A new connection has a
# window of 64 KiB: after 32 KiB there is room for the next segment. Then the window has 128 KiB and two segments in it,
# and both have to be read: what lets go of one is a little short of a whole one. So a step is all that the reader's
# kernel holds. What is written at once, and not one message at a time, also leaves more with the sender.
REFILL_BYTES: Final = 166_000  # what both kernels hold then
FIRST_STEPS: Final = 2
FIRST_STEP_SHARE: Final = 0.2  # of a refill: what is read until the server hears that there is room
STEP_SHARE: Final = 0.77


def refill_bytes(room_bytes: float, wire_bytes: float) -> float:
    """Returns what kernels hold that were refilled, where they take `room_bytes` of single messages of that length."""
    return room_bytes * max(REFILL_BYTES / hidden_bytes(wire_bytes), 1.0)


class Supply:
    """Bytes a second over time, piecewise constant. Owns the sums, so that a question costs a bisection.

    Args:
        pieces: (from when on, bytes a second) by time; each lasts until the next, the last for ever. The first also
            counts before its time.
    """

    __slots__ = ("_rates", "_starts", "_sums")

    def __init__(self, pieces: Iterable[tuple[float, float]]) -> None:
        pieces = list(pieces)
        if not pieces or any(rate < 0 for _, rate in pieces):
            raise ValueError("a supply takes at least one piece, and no rate below 0")
        if any(later <= earlier for (earlier, _), (later, _) in pairwise(pieces)):
            raise ValueError("the pieces of a supply begin one after the other")
        self._starts = [start for start, _ in pieces]
        self._rates = [rate for _, rate in pieces]
        self._sums = [0.0]  # taken by each start
        for place, (one, other) in enumerate(pairwise(self._starts)):
            self._sums.append(self._sums[-1] + (other - one) * self._rates[place])

    @property
    def pieces(self) -> list[tuple[float, float]]:
        """The pieces: (from when on, bytes a second)."""
        return list(zip(self._starts, self._rates, strict=True))

    def total(self, time: float) -> float:
        """Returns the bytes taken by `time`, counted from the first piece; negative before. O(log pieces)."""
        place = max(bisect_right(self._starts, time) - 1, 0)
        return self._sums[place] + (time - self._starts[place]) * self._rates[place]

    def when(self, total: float) -> float:
        """Returns the first time by which `total` bytes are taken; infinite if never. O(log pieces)."""
        place = max(bisect_right(self._sums, total) - 1, 0)
        while place and self._sums[place] >= total:  # a pause before: the first time counts
            place -= 1
        rate = self._rates[place]
        if rate > 0:
            return self._starts[place] + (total - self._sums[place]) / rate
        return self._starts[place] if self._sums[place] >= total else math.inf

    def reads_after(self, time: float) -> float:
        """Returns the first time from `time` on at which the reader takes something; infinite if never."""
        place = max(bisect_right(self._starts, time) - 1, 0)
        if self._rates[place] > 0:
            return time
        later = (start for start, rate in zip(self._starts[place:], self._rates[place:], strict=True) if rate > 0)
        return next(later, math.inf)

    def pauses(self, *, until: float) -> list[float]:
        """Returns the seconds of the pieces before `until` in which nothing is taken."""
        ends = [*self._starts[1:], until]
        pieces = zip(self._starts, ends, self._rates, strict=True)
        return [min(end, until) - start for start, end, rate in pieces if rate <= 0 and start < until]


class Sent(NamedTuple):
    """A publication.

    Attributes:
        time: Seconds on the scene's clock.
        channel: Its channel.
        size: Payload bytes.
        key: The state that it is the newest of; None without one.
    """

    time: float
    channel: str
    size: int
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A client that may fall behind.

    Attributes:
        name: Unique in the scene.
        channels: The channels that it is on.
        supply: How fast it empties its kernel.
        room_bytes: What the kernels of both sides take before the server has to keep the rest.
        refill_bytes: What they hold when they have been full, and were filled again, if that is more.
        begins: When it connects.
        ends: When it leaves by itself; None: it stays.
        shut: By time, (from, until) when its kernel takes nothing more, whatever was read: a lost segment waits there.
        away_seconds: After a close, from its news to the next connection; None: it stays away. Coming back it resumes.
    """

    name: str
    channels: tuple[str, ...]
    supply: Supply
    room_bytes: float
    refill_bytes: float = 0.0
    begins: float = 0.0
    ends: float | None = None
    shut: tuple[tuple[float, float], ...] = ()
    away_seconds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is replayed.

    Attributes:
        publications: By time.
        readers: The clients that may fall behind.
        fast_clients: Clients beside them, which always follow.
        ends: When the replay ends.
        dialect: The clients' dialect, by its name in statistics.
    """

    publications: list[Sent]
    readers: list[Reader]
    fast_clients: int
    ends: float
    dialect: str = "plain"

    @property
    def begins(self) -> float:
        """When the first publication or reader comes."""
        first = [sent.time for sent in self.publications[:1]] + [reader.begins for reader in self.readers]
        return min(first, default=0.0)

    @property
    def seconds(self) -> float:
        """How long the scene lasts."""
        return self.ends - self.begins

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return self.fast_clients + len(self.readers)

    @property
    def rate(self) -> float:
        """Publications a second, over all channels."""
        return len(self.publications) / self.seconds if self.seconds > 0 else 0.0

    @property
    def size(self) -> float:
        """Payload bytes of a publication, on average."""
        return sum(sent.size for sent in self.publications) / max(len(self.publications), 1)
