"""A trace as visits: each connection that fell behind, with what it had accepted at each look."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache, singledispatchmethod
from itertools import accumulate
from typing import Any, Final, NamedTuple

from ..core import trace
from ..core.dialect import Dialect
from ..core.publication import Kind, Publication
from .scene import Sent

_SIZES: Final = 100_000  # whose lengths on the wire are kept


class Mark(NamedTuple):
    """What a trace knows of a client at one time.

    Attributes:
        at: When.
        accepted: Bytes on the wire that its kernel had taken by then, counted as `Curve` counts what was published.
        held_up: Whether its connection kept it from being served.
    """

    at: float
    accepted: float
    held_up: bool


class Stretch(NamedTuple):
    """A time in which a client was behind.

    Attributes:
        began_at: When it left the ready groups.
        marks: What audits have seen.
        caught_at: When it was up to date again; None: it never was.
    """

    began_at: float
    marks: list[Mark]
    caught_at: float | None


@dataclass(slots=True, kw_only=True)
class Visit:
    """One connection."""

    number: int
    before: int
    dialect: str
    begins: float
    here: bool
    ends: float | None = None
    reason: str = ""
    channels: dict[int, None] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def dropped(self) -> bool:
        """Whether the server closed it."""
        return self.reason in ("slow", "stalled", "memory", "no_pong")


class Curve:
    """Bytes on the wire that were published by when, on some channels."""

    def __init__(self, sent: Iterable[tuple[float, float]]) -> None:
        ordered = sorted(sent)
        self._times = [time for time, _ in ordered]
        self._sums = [0.0, *accumulate(size for _, size in ordered)]

    def at(self, time: float) -> float:
        """Returns the bytes published by `time`. O(log publications)."""
        return self._sums[bisect_right(self._times, time)]

    def before(self, time: float) -> float:
        """Returns the bytes published before `time`. O(log publications)."""
        return self._sums[bisect_left(self._times, time)]

    def when(self, total: float) -> float:
        """Returns when `total` bytes were exceeded; the time of the first publication if that is negative."""
        place = bisect_right(self._sums, total)
        return self._times[min(max(place - 1, 0), len(self._times) - 1)] if self._times else 0.0


class Book:
    """Reads the records of a trace, in their order.

    Attributes:
        names: {number of a channel: name}.
        sent: What was published.
        visits: {number of a client: its visit}.
        clients: The most that listened, of those that a trace can know; on several channels, once for each.
        ends: When the latest record was.
        audits: How many there were.
        whole: Whether the trace was not cut by its bounds.
    """

    def __init__(self, wire: Callable[[str, int, bool], int]) -> None:
        self.names: dict[int, str] = {}
        self.sent: list[Sent] = []
        self.visits: dict[int, Visit] = {}
        self.ends = 0.0
        self.audits = 0
        self.whole = False
        self.clients = 0
        self._wire = wire
        self._listening: dict[int, set[int]] = defaultdict(set)  # {client: channels that it is counted on}
        self._listeners = 0  # once for each channel
        self._introduced = 0  # the client that was here before, whose past the records tell now; 0: of none
        self._counted = 0  # the channel whose count the record before has told; 0: of none
        self._published: dict[int, list[float]] = {}  # {channel: [bytes on the wire by each publication]}
        self._times: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self._open: dict[int, tuple[float, list[Mark]]] = {}  # {client: the stretch that it is in}

    def curve(self, channels: Iterable[int]) -> Curve:
        """Returns what was published on these channels."""
        return Curve(entry for channel in channels for entry in self._times[channel])

    def read(self, records: Iterable[Any]) -> None:
        """Reads all records."""
        for record in records:
            self.ends = record.at
            self.take(record)
            self._counted = record.channel if isinstance(record, trace.ChannelSeen) else 0
            if not isinstance(record, (trace.ChannelSeen, trace.Subscribed)):
                here = isinstance(record, trace.Connected) and record.here
                self._introduced = record.client if here else 0
        for number in list(self._open):
            self._close_stretch(number, None)

    @singledispatchmethod
    def take(self, record: Any) -> None:
        """Reads one record; those of other types say nothing that a replay needs."""

    @take.register
    def _channel(self, record: trace.ChannelSeen) -> None:
        self.names[record.channel] = record.name
        self._published[record.channel] = [0.0]
        self._listen(record.clients)

    @take.register
    def _publication(self, record: trace.Published) -> None:
        name = self.names[record.channel]
        key = f"{record.key:x}" if record.key else None
        self.sent.append(Sent(record.at, name, record.size_bytes, key))
        size = self._wire(name, record.size_bytes, key is not None)
        self._times[record.channel].append((record.at, size))
        self._published[record.channel].append(self._published[record.channel][-1] + size)

    @take.register
    def _connected(self, record: trace.Connected) -> None:
        begins = 0.0 if record.here else record.at
        self.visits[record.client] = Visit(
            number=record.client, before=record.before, dialect=record.dialect, begins=begins, here=record.here
        )

    @take.register
    def _subscribed(self, record: trace.Subscribed) -> None:
        """A client that the channel's own count has, or that was here when its channel was seen, is no other one."""
        self.visits[record.client].channels[record.channel] = None
        self._listening[record.client].add(record.channel)
        was_there = record.client == self._introduced and not record.resumed
        if record.channel != self._counted and not was_there:
            self._listen(1)

    @take.register
    def _unsubscribed(self, record: trace.Unsubscribed) -> None:
        listening = self._listening[record.client]
        if record.channel in listening:
            listening.remove(record.channel)
            self._listen(-1)

    @take.register
    def _closed(self, record: trace.Closed) -> None:
        visit = self.visits[record.client]
        visit.ends, visit.reason = record.at, record.reason
        self._listen(-len(self._listening.pop(record.client, ())))
        self._close_stretch(record.client, None)

    @take.register
    def _fell(self, record: trace.FellBehind) -> None:
        self._open[record.client] = record.at, []

    @take.register
    def _caught(self, record: trace.CaughtUp) -> None:
        self._close_stretch(record.client, record.at)

    @take.register
    def _audit(self, _record: trace.Audited) -> None:
        self.audits += 1

    @take.register
    def _ended(self, record: trace.Ended) -> None:
        self.whole = record.reason in ("asked", "stopped")

    @take.register
    def _sample(self, record: trace.Sample) -> None:
        visit = self.visits[record.client]
        _, marks = self._open.setdefault(record.client, (record.at, []))
        sums = self._published[record.channel]
        behind = sums[-1] - sums[max(len(sums) - 1 - record.lag, 0)]
        if marks and marks[-1].at == record.at:  # another of its channels
            marks[-1] = marks[-1]._replace(accepted=marks[-1].accepted - behind)
            return
        published = sum(self._published[channel][-1] for channel in visit.channels)
        marks.append(Mark(record.at, published - behind - record.buffered_bytes, record.held_up))

    def _listen(self, more: int) -> None:
        self._listeners += more
        self.clients = max(self.clients, self._listeners)

    def _close_stretch(self, client: int, caught_at: float | None) -> None:
        began_at, marks = self._open.pop(client, (None, []))
        if began_at is not None:
            self.visits[client].stretches.append(Stretch(began_at, marks, caught_at))


def wire_sizes(dialect: Dialect) -> Callable[[str, int, bool], int]:
    """Returns a function of (channel, payload bytes, with a key): the length of such a publication in a dialect."""

    @lru_cache(_SIZES)
    def length(channel: str, size: int, keyed: bool) -> int:
        key = "12345678" if keyed else None  # as long as most that stand for one in a replay
        return len(dialect.encode(Publication(channel, "", 1_000, b"x" * size, Kind.TEXT, 0.0, key)))

    return length
