"""Rates and percentiles, from the differences of two documents of /stats. No I/O.

The server counts and never divides: whoever looks keeps the last document and takes the difference. Counts that went
down are another server's, or one that was started anew, and make no rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Document: TypeAlias = Mapping[str, Any]
"""As GET /stats answers."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened between two documents, per second; percentiles are None where nothing happened.

    Attributes:
        seconds: How long that was.
        drops: Publications that clients were not given.
        socket_p50_seconds: From publishing to the last ready client's socket, the median.
        socket_p99_seconds: The 99th percentile of the same.
        loop_p99_seconds: How late the event loop was.
    """

    seconds: float
    publications: float
    deliveries: float
    delivered_bytes: float
    drops: float
    socket_p50_seconds: float | None
    socket_p99_seconds: float | None
    loop_p99_seconds: float | None


def between(before: Document, after: Document) -> Rates | None:
    """The rates between two documents of the same run of a server; None if they are not, or no time has passed."""
    seconds = after["uptime_seconds"] - before["uptime_seconds"]
    totals = increase(before["totals"], after["totals"])
    dropped = increase(before["dropped"], after["dropped"])
    if seconds <= 0 or before["server"]["pid"] != after["server"]["pid"] or totals is None or dropped is None:
        return None
    socket = _difference(before, after, "last_socket_seconds")
    loop = _difference(before, after, "loop_lag_seconds")
    return Rates(
        seconds=seconds,
        publications=totals["publications"] / seconds,
        deliveries=totals["deliveries"] / seconds,
        delivered_bytes=totals["delivered_bytes"] / seconds,
        drops=sum(dropped.values()) / seconds,
        socket_p50_seconds=quantile(*socket, 0.5),
        socket_p99_seconds=quantile(*socket, 0.99),
        loop_p99_seconds=quantile(*loop, 0.99),
    )


def increase(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float] | None:
    """By how much each count of `after` has grown; None if one went down."""
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    return None if any(value < 0 for value in grown.values()) else grown


def quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """The value that `share` of what a histogram counted is not above, straight within its bucket; None if it is empty.

    `counts[i]` is of the values from `bounds[i-1]` to `bounds[i]`, and one more of those above all bounds: of these it
    is only known that they are above the last one, which is returned.
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
    """The bounds and the counts of what a histogram has counted in between; no counts if it cannot be told."""
    old, new = before["histograms"][name], after["histograms"][name]
    bounds: Sequence[float] = new["bounds"]
    grown = [now - then for then, now in zip(old["counts"], new["counts"], strict=False)]
    if old["bounds"] != bounds or len(new["counts"]) != len(grown) or any(count < 0 for count in grown):
        return bounds, []
    return bounds, grown
