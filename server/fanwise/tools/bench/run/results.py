"""The figures of a run so far, merged from all workers' snapshots."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ...load.behaviour import READ_LATE, Behaviour
from ...load.histogram import Histogram
from ..load.plan import Plan
from ..load.snapshots import MAX_DROPS, Drop, Snapshot
from .bottleneck import Effort, bottleneck

MAX_MOMENTS = 1000  # of the timeline; then neighbours become one
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}  # {name: share}


@dataclass(slots=True)
class Moment:
    """A piece of the timeline: what came between the last one and `at_seconds`."""

    at_seconds: float
    deliveries: int
    p50_ms: float
    p99_ms: float
    dropped: int


@dataclass(slots=True)
class Server:
    """CPU (cores) and memory (bytes) of the server's process; None where the process is unknown."""

    cpu_seconds: float | None = None
    cpu_share_now: float | None = None
    cpus: int | None = None  # how many it may run on
    rss_start_bytes: int | None = None
    rss_peak_bytes: int | None = None


@dataclass
class Results:
    """A run's figures; complete when the last snapshot of each worker was added.

    Attributes:
        start_ns: When the measurement began, on the monotonic clock.
        stopped_ns: When all workers had drained.
    """

    plan: Plan
    start_ns: int = 0
    stopped_ns: int = 0
    latency: Histogram = field(default_factory=Histogram)  # of the healthy clients
    staleness: dict[Behaviour, Histogram] = field(default_factory=dict)  # {kind read late: age of messages when read}
    lag: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)
    drops: list[Drop] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    server: Server = field(default_factory=Server)
    _last: dict[int, Snapshot] = field(default_factory=dict)  # {worker: its newest snapshot}
    _recent: Histogram = field(default_factory=Histogram)  # since the last moment

    def add(self, snapshot: Snapshot) -> None:
        """Takes a snapshot; each worker's must come in order."""
        self._last[snapshot.worker] = snapshot
        fresh = snapshot.tallies[Behaviour.HEALTHY].latency
        self.latency.merge(fresh)
        self._recent.merge(fresh)
        for kind in READ_LATE:
            self.staleness.setdefault(kind, Histogram()).merge(snapshot.tallies[kind].latency)
        self.lag.merge(snapshot.lag)
        self.late.merge(snapshot.late)
        self.drops += snapshot.drops[: MAX_DROPS - len(self.drops)]
        if snapshot.server_cpu_seconds is not None:
            self.server.cpu_seconds = snapshot.server_cpu_seconds

    def mark(self) -> None:
        """Ends a piece of the timeline at the newest snapshot; without a new snapshot the piece goes on."""
        at_seconds = (max((last.at_ns for last in self._last.values()), default=0) - self.start_ns) / 1e9
        if at_seconds <= (self.moments[-1].at_seconds if self.moments else 0.0):
            return
        recent, self._recent = self._recent, Histogram()
        before = sum(moment.dropped for moment in self.moments)
        p50_ms, p99_ms = recent.quantile_ns(0.5) / 1e6, recent.quantile_ns(0.99) / 1e6
        self.moments.append(Moment(at_seconds, recent.total, p50_ms, p99_ms, self.dropped() - before))
        if len(self.moments) > MAX_MOMENTS:
            self.moments = [_joined(*self.moments[i : i + 2]) for i in range(0, len(self.moments), 2)]

    @property
    def has_more(self) -> bool:
        """Whether there were deliveries or drops since the timeline's last piece."""
        return bool(self._recent.total) or self.dropped() > sum(moment.dropped for moment in self.moments)

    def count(self, name: str, *kinds: Behaviour) -> int:
        """The sum of a counter of `Tally` over all workers, for the kinds given."""
        return sum(getattr(last.tallies[kind], name) for last in self._last.values() for kind in kinds)

    def dropped(self, *kinds: Behaviour) -> int:
        """Connections that the server ended; of all kinds if none is given."""
        return sum(times for (kind, _), times in self.drop_counts.items() if not kinds or kind in kinds)

    @property
    def drop_counts(self) -> Counter[tuple[Behaviour, str]]:
        """{(kind, cause): connections}."""
        counts: Counter[tuple[Behaviour, str]] = Counter()
        for last in self._last.values():
            counts.update(last.drop_counts)
        return counts

    @property
    def open_clients(self) -> Counter[Behaviour]:
        """{kind: connections}."""
        counts: Counter[Behaviour] = Counter()
        for last in self._last.values():
            counts.update(last.open_clients)
        return counts

    @property
    def notes(self) -> Counter[str]:
        """{what the server said or refused: times}."""
        counts: Counter[str] = Counter()
        for last in self._last.values():
            counts.update(last.notes)
        return counts

    @property
    def published(self) -> int:
        """Messages that were measured, over all channels."""
        sent = (last for snapshot in self._last.values() for last in snapshot.published.values())
        return sum(max(sequence - self.plan.warmup_messages, 0) for sequence in sent)

    @property
    def deliveries(self) -> int:
        """Messages that reached a healthy client."""
        return self.count("deliveries", Behaviour.HEALTHY)

    @property
    def undelivered(self) -> int:
        """Messages that healthy, connected clients still waited for at the end, summed over them."""
        return sum(last.undelivered for last in self._last.values())

    @property
    def flaps(self) -> int:
        """Departures of flapping clients."""
        return sum(last.flaps for last in self._last.values())

    @property
    def elapsed_seconds(self) -> float:
        """From the start to the last delivery."""
        last_ns = max((last.tallies[Behaviour.HEALTHY].last_ns for last in self._last.values()), default=0)
        return max(last_ns - self.start_ns, 0) / 1e9

    @property
    def deliveries_per_second(self) -> float:
        """To healthy clients."""
        return self.deliveries / self.elapsed_seconds if self.elapsed_seconds else 0.0

    @property
    def cpu_per_delivery_ns(self) -> float | None:
        """CPU of the server for each delivery, to clients of any kind; None if the process is unknown."""
        everybody = self.count("deliveries", *Behaviour)
        return self.server.cpu_seconds * 1e9 / everybody if self.server.cpu_seconds and everybody else None

    @property
    def server_share(self) -> float | None:
        """CPU of the server in cores."""
        if self.server.cpu_seconds is None or self.stopped_ns <= self.start_ns:
            return None
        return self.server.cpu_seconds * 1e9 / (self.stopped_ns - self.start_ns)

    @property
    def efforts(self) -> list[Effort]:
        """The effort of each worker, in shares of a core."""
        wall_ns = max(self.stopped_ns - self.start_ns, 1)
        ordered = [self._last[worker] for worker in sorted(self._last)]
        return [Effort(last.cpu_seconds * 1e9 / wall_ns, last.waited_seconds * 1e9 / wall_ns) for last in ordered]

    def quantile_ms(self, name: str) -> float:
        """A latency percentile by its name in `QUANTILES`."""
        return (self.latency.max_ns if name == "max" else self.latency.quantile_ns(QUANTILES[name])) / 1e6

    def staleness_ms(self, kind: Behaviour, name: str) -> float | None:
        """The age of messages when clients of a kind read them, by a name in `QUANTILES`; None if they read nothing."""
        ages = self.staleness.get(kind)
        if ages is None or not ages.total:
            return None
        return (ages.max_ns if name == "max" else ages.quantile_ns(QUANTILES[name])) / 1e6

    def drop_times(self, kind: Behaviour, cause: str) -> tuple[float, float] | None:
        """Returns (first, last) of the connections that ended so, in seconds; None if none was reported."""
        found = [drop.at_seconds for drop in self.drops if (drop.kind, drop.cause) == (kind, cause)]
        return (min(found), max(found)) if found else None

    @property
    def bottleneck(self) -> str | None:
        """Returns why the figures are the generator's and not the server's; None if they are the server's."""
        return bottleneck(
            self.efforts,
            saturated=self.plan.saturates,
            server_share=self.server_share,
            server_cpus=self.server.cpus,
            lag_p99_ns=self.lag.quantile_ns(0.99),
            latency_p99_ns=self.latency.quantile_ns(0.99),
            late_p99_ns=self.late.quantile_ns(0.99),
        )

    @property
    def flaws(self) -> dict[str, int]:
        """{what went wrong for clients that read: how often}; empty if nothing did."""
        reading = (Behaviour.HEALTHY, Behaviour.FLAPPING)
        found = {name: self.count(name, *reading) for name in ("lost", "duplicates", "reordered", "corrupt")}
        found |= {"undelivered": self.undelivered, "dropped": self.dropped(*reading, Behaviour.PUBLISHER)}
        return {name: times for name, times in found.items() if times}


def _joined(first: Moment, second: Moment | None = None) -> Moment:
    if second is None:
        return first
    return Moment(
        second.at_seconds,
        first.deliveries + second.deliveries,
        max(first.p50_ms, second.p50_ms),
        max(first.p99_ms, second.p99_ms),
        first.dropped + second.dropped,
    )
