"""`--against`: two runs of one load, and the factors between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .results import Results


@dataclass(frozen=True, slots=True)
class Comparison:
    """The factors by which Fanwise was better; below 1, worse. None where unknown.

    Factors of a Fanwise that the generator limited are lower bounds; a limited rival has no factors.

    Attributes:
        limited: Why the figures of one of them are the generator's: {server: reason}.
        stopped: The rival delivered nothing at all, or not everything.
    """

    rival: str
    throughput: float | None
    p99: float | None
    cpu: float | None
    limited: dict[str, str]
    stopped: str | None

    def sentences(self) -> list[str]:
        """Returns the factors and the reasons for missing ones, as sentences."""
        told = [*([self.stopped] if self.stopped else []), *self._unknown()]
        if self.rival in self.limited:
            return told
        least = "at least " if self.limited else ""
        named = (
            ("times the deliveries per second", self.throughput),
            ("times less latency (p99)", self.p99),
            ("times less CPU for each delivery", self.cpu),
        )
        factors = [f"{least}{factor:.1f} {name}" for name, factor in named if factor is not None]
        return [*factors, *told] or ["nothing can be compared"]

    def _unknown(self) -> list[str]:
        return [f"not comparable: {name}: {reason}" for name, reason in self.limited.items()]

    def record(self) -> dict[str, Any]:
        """Returns plain data, for JSON."""
        return {
            "sentences": self.sentences(),
            "throughput": self.throughput,
            "p99": self.p99,
            "cpu_per_delivery": self.cpu,
            "no_verdict": self.limited,
            "stopped": self.stopped,
        }


def compare(ours: Results, theirs: Results, *, rival: str) -> Comparison:
    """The factors; those of throughput only when saturated: at a fixed rate both deliver what they are given."""
    saturated = ours.plan.saturates
    return Comparison(
        rival=rival,
        throughput=_ratio(ours.deliveries_per_second, theirs.deliveries_per_second) if saturated else None,
        p99=_ratio(theirs.quantile_ms("p99"), ours.quantile_ms("p99")),
        cpu=_ratio(theirs.cpu_per_delivery_ns, ours.cpu_per_delivery_ns),
        limited={name: score.bottleneck for name, score in (("Fanwise", ours), (rival, theirs)) if score.bottleneck},
        stopped=_stopped(theirs, rival),
    )


def _stopped(theirs: Results, rival: str) -> str | None:
    if theirs.undelivered or not theirs.deliveries:
        return (
            f"{rival} left {theirs.undelivered:,} messages undelivered after {theirs.plan.drain_seconds:g} s of waiting"
        )
    return None


def _ratio(better: float | None, worse: float | None) -> float | None:
    return better / worse if better and worse else None
