"""`--against`: two runs of the same load, and by which factor they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .score import Score


@dataclass(frozen=True, slots=True)
class Factors:
    """How many times better Fanwise was; below 1 it was worse. None where it cannot be told.

    Attributes:
        limited: Why the figures of one of them are the generator's: {server: reason}.
        stopped: The rival delivered nothing at all, or not everything.
    """

    throughput: float | None
    p99: float | None
    cpu: float | None
    limited: dict[str, str]
    stopped: str | None

    def sentences(self) -> list[str]:
        """What to tell."""
        told = [
            f"{sentence.format(factor)}"
            for sentence, factor in (
                ("{:.1f} times the deliveries per second", self.throughput),
                ("{:.1f} times less latency (p99)", self.p99),
                ("{:.1f} times less CPU for each delivery", self.cpu),
            )
            if factor is not None
        ]
        if self.stopped:
            told.append(self.stopped)
        told += [f"no verdict on {name}: {reason}" for name, reason in self.limited.items()]
        return told or ["nothing can be compared"]

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "sentences": self.sentences(),
            "throughput": self.throughput,
            "p99": self.p99,
            "cpu_per_delivery": self.cpu,
            "no_verdict": self.limited,
            "stopped": self.stopped,
        }


def compare(ours: Score, theirs: Score, *, rival: str) -> Factors:
    """The factors; those of throughput only when saturated: at a fixed rate both deliver what they are given."""
    saturated = ours.plan.rate is None
    return Factors(
        throughput=_ratio(ours.deliveries_per_second, theirs.deliveries_per_second) if saturated else None,
        p99=_ratio(theirs.quantile_ms("p99"), ours.quantile_ms("p99")),
        cpu=_ratio(theirs.cpu_per_delivery_ns, ours.cpu_per_delivery_ns),
        limited={name: score.bottleneck for name, score in (("Fanwise", ours), (rival, theirs)) if score.bottleneck},
        stopped=_stopped(theirs, rival),
    )


def _stopped(theirs: Score, rival: str) -> str | None:
    if theirs.undelivered or not theirs.deliveries:
        return (
            f"{rival} left {theirs.undelivered:,} messages undelivered after {theirs.plan.drain_seconds:g} s of waiting"
        )
    return None


def _ratio(better: float | None, worse: float | None) -> float | None:
    return better / worse if better and worse else None
