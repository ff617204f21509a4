"""Rates and percentiles, from the differences of two documents of /stats. No I/O.

The server counts and never divides: a viewer keeps the last document and takes the difference. Counts that went down
belong to another server, or to a restarted one, and make no rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Document: TypeAlias = Mapping[str, Any]
"""As GET /stats answers."""


LEFT: Final = ("normal", "lost", "shutdown")
"""Reasons of connections that ended without the server dropping a client: the client left, or the server did."""


@dataclass(frozen=True, slots=True)
class WorkerRates:
    """Rates of one worker, per second. `cpu`: seconds of CPU time."""

    publications: float
    deliveries: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates between two documents, per second; percentiles are None without events.

    Attributes:
        seconds: The time between the documents.
        drops: Clients that the server dropped.
        missed: {cause: publications that clients were not given}; causes without one are left out.
        ready_p50_seconds: Ages of what ready clients were given, the median.
        ready_p99_seconds: Ages of what ready clients were given, the 99th percentile.
        catching_up_p99_seconds: Ages of what clients were given that are behind, the 99th percentile.
        loop_p99_seconds: How late the event loop was.
        workers: {worker: its rates}; empty where the documents are of one process.
    """

    seconds: float
    publications: float
    deliveries: float
    delivered_bytes: float
    drops: float
    ready_p50_seconds: float | None
    ready_p99_seconds: float | None
    catching_up_p99_seconds: float | None
    loop_p99_seconds: float | None
    missed: Mapping[str, float] = field(default_factory=dict)
    workers: Mapping[str, WorkerRates] = field(default_factory=dict)


def between(before: Document, after: Document) -> Rates | None:
    """Returns the rates between two documents.

    None across a restart of the server, or where its workers are not those of before, or without time between.
    """
    seconds = after["uptime_seconds"] - before["uptime_seconds"]
    totals = increase(before["totals"], after["totals"])
    dropped = increase(before["dropped"], after["dropped"])
    if seconds <= 0 or _processes(before) != _processes(after) or totals is None or dropped is None:
        return None
    ready = _difference(before, after, "ready_age_seconds")
    catching_up = _difference(before, after, "catching_up_age_seconds")
    loop = _difference(before, after, "loop_lag_seconds")
    return Rates(
        seconds=seconds,
        publications=totals["publications"] / seconds,
        deliveries=totals["deliveries"] / seconds,
        delivered_bytes=totals["delivered_bytes"] / seconds,
        drops=max(0, clients_dropped(after) - clients_dropped(before)) / seconds,
        ready_p50_seconds=quantile(*ready, 0.5),
        ready_p99_seconds=quantile(*ready, 0.99),
        catching_up_p99_seconds=quantile(*catching_up, 0.99),
        loop_p99_seconds=quantile(*loop, 0.99),
        missed={cause: number / seconds for cause, number in dropped.items() if number},
        workers=_workers(before, after),
    )


def clients_dropped(document: Document) -> int:
    """Returns the number of clients that the server dropped since its start; a client that left is none."""
    return sum(int(number) for reason, number in document["closed"].items() if reason not in LEFT)


def _processes(document: Document) -> list[str]:
    """Returns what names the processes that a document is of."""
    if "workers" not in document:
        return [str(document["server"]["pid"])]
    return sorted(str(worker["worker"]) for worker in document["workers"])


def _workers(before: Document, after: Document) -> dict[str, WorkerRates]:
    """Returns the rates of each worker that has said something in between."""
    known = {worker["worker"]: worker for worker in before.get("workers", ())}
    found = {}
    for worker in after.get("workers", ()):
        earlier = known[worker["worker"]]
        seconds = worker["uptime_seconds"] - earlier["uptime_seconds"]
        if seconds > 0:
            names = ("publications", "deliveries", "cpu_seconds")
            found[worker["worker"]] = WorkerRates(*((worker[name] - earlier[name]) / seconds for name in names))
    return found


def increase(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float] | None:
    """Returns the growth of each count; None if one went down."""
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    return None if any(value < 0 for value in grown.values()) else grown


def quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """Returns the quantile of a histogram, interpolated within its bucket; None for an empty one.

    `counts[i]` counts values from `bounds[i-1]` to `bounds[i]`; one more count is of values above all bounds. The last
    bound stands for these.
    """
    rank = share * sum(counts)
    if not rank > 0:
        return None
    below = 0.0
    for place, count in enumerate(counts[: len(bounds)]):
        if count and below + count >= rank:
            floor = bounds[place - 1] if place else min(0.0, bounds[0])
            return floor + (bounds[place] - floor) * (rank - below) / count
        below += count
    return bounds[-1] if bounds else None


def _difference(before: Document, after: Document, name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Returns (bounds, counts) of the values between two documents; no counts if bounds or counts do not fit."""
    old, new = before["histograms"][name], after["histograms"][name]
    bounds: Sequence[float] = new["bounds"]
    grown = [now - then for then, now in zip(old["counts"], new["counts"], strict=False)]
    if old["bounds"] != bounds or len(new["counts"]) != len(grown) or any(count < 0 for count in grown):
        return bounds, []
    return bounds, grown
