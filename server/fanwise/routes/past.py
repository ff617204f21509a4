"""The last hour: what was counted in each twelve seconds, for charts. `GET /stats/past` answers with it.

A point has differences, and no counters since the start: the points of several workers can therefore be added.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from operator import sub
from typing import Annotated, Any, Final, Protocol

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from ..broadcaster.node import Node
from ..broadcaster.turns import SharedTurn
from ..core.codes import ErrorCode
from ..core.counters import Histogram, name_of
from .auth.guards import REFUSED_WITH_KEY, Access, operator_guards
from .channels import Scope
from .problems import errors, make_router
from .process import read_usage
from .streams import LongAnswers

POINT_SECONDS: Final = 12
POINTS: Final = 300  # an hour
RING_BYTES: Final = 1_048_576  # about three times what a busy hour takes
SUMS: Final = ("publications", "deliveries", "delivered_bytes")
DRAWN: Final = ("ready_age_seconds", "catching_up_age_seconds", "lag_messages")  # histograms

Pairs = Annotated[
    dict[str, list[tuple[int, int]]],
    Field(description="by the name of the histogram: [index of the bucket, values], without empty buckets"),
]


class PastPoint(BaseModel):
    """How a server stood at a time, and what it has counted since the point before."""

    at: Annotated[float, Field(description="seconds since 1970")]
    seconds: Annotated[float, Field(description="since the point before, or since the start")]
    clients: int
    retained_bytes: int
    rss_bytes: int
    loop_lag_seconds: Annotated[float, Field(description="largest delay of the event loop")]
    publications: int
    deliveries: int
    delivered_bytes: int
    dropped: Annotated[dict[str, int], Field(description="publications that clients did not get, by cause")]
    closed: Annotated[dict[str, int], Field(description="connections that ended, by reason")]
    histograms: Pairs


class Past(BaseModel):
    """The last hour, the oldest point first."""

    seconds: Annotated[int, Field(description="between two points, about")]
    bounds: Annotated[dict[str, list[float]], Field(description="of the histograms' buckets, as `/stats` has them")]
    points: list[PastPoint]


class AllPasts(Protocol):
    """The last hour of all workers behind one engine. `model`: of its JSON."""

    model: type[BaseModel]

    async def past(self) -> AsyncGenerator[bytes, None]:
        """Returns its JSON, in parts."""


class PastRing:
    """Keeps the points of the last hour as JSON. Owns the invariant that they take at most RING_BYTES.

    Args:
        broadcaster: The node whose figures are kept.
        published: Returns how many publications were made; by default those that the node has appended.
        clock: Seconds since 1970.
        timer: Seconds, from any time on.

    Attributes:
        size_bytes: What the points take.
    """

    def __init__(
        self,
        broadcaster: Node,
        *,
        published: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size_bytes = 0
        self._broadcaster = broadcaster
        self._published = published or (lambda: broadcaster.tally.publications)
        self._clock, self._timer = clock, timer
        self._points: deque[bytes] = deque()
        self._gone = 0  # points before the first
        self._slot = slot_of(clock())
        self._taken_at = timer()
        self._late_seconds = 0.0
        self._before = self._count()

    def __len__(self) -> int:
        return len(self._points)

    def look(self) -> None:
        """Takes a point when twelve seconds are over. To be called once a second; O(1)."""
        at, outline = self._clock(), self._broadcaster.inspect.outline()
        self._late_seconds = max(self._late_seconds, outline.loop_lag_seconds)
        slot = slot_of(at)
        if slot == self._slot:
            return
        if slot < self._slot:  # the clock was set back, and points go one way
            self._let_go(len(self._points))
        now, self._slot = self._timer(), slot
        known = {"clients": outline.clients, "retained_bytes": outline.retained_bytes}
        usage = {"rss_bytes": read_usage().rss_bytes, "loop_lag_seconds": self._late_seconds}
        before, self._before = self._before, self._count()
        about = {"at": at, "seconds": now - self._taken_at, **known, **usage, **_since(before, self._before)}
        self._taken_at, self._late_seconds = now, 0.0
        self._keep(orjson.dumps(about))

    def newest_first(self) -> Iterator[bytes]:
        """Yields the points, each as JSON."""
        return iter([*reversed(self._points)])

    def bounds(self) -> dict[str, Sequence[float]]:
        """Returns the bounds of the histograms."""
        found = self._broadcaster.tally.histograms()
        return {name: found[name].bounds for name in DRAWN}

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """Yields the JSON of a `Past`."""
        turn, comma = SharedTurn(), b""
        yield head_of(self.bounds())
        number, end = self._gone, self._gone + len(self._points)
        while (number := max(number, self._gone)) < end:  # a peer that reads slowly keeps no point
            yield comma + self._points[number - self._gone]
            comma = b","
            number += 1
            await turn.give_way()
        yield b"]}"

    def _keep(self, point: bytes) -> None:
        self._points.append(point)
        self.size_bytes += len(point)
        while len(self._points) > POINTS or self.size_bytes > RING_BYTES:
            self._let_go(1)

    def _let_go(self, points: int) -> None:
        for _ in range(points):
            self.size_bytes -= len(self._points.popleft())
            self._gone += 1

    def _count(self) -> dict[str, Any]:
        tally = self._broadcaster.tally
        sums = {"publications": self._published(), **{name: getattr(tally, name) for name in SUMS[1:]}}
        drawn: dict[str, Histogram] = {
            "ready_age_seconds": tally.ready_age,
            "catching_up_age_seconds": tally.catching_up_age,
            "lag_messages": tally.lag,
        }
        return {
            "sums": sums,
            "dropped": dict(tally.dropped),
            "closed": {name_of(reason): count for reason, count in tally.closed.items()},
            "histograms": {name: list(histogram.counts) for name, histogram in drawn.items()},
        }


def slot_of(at: float) -> int:
    """Returns the number of the twelve seconds that a point ends: workers take theirs at the same times."""
    return int(at // POINT_SECONDS)


def head_of(bounds: Mapping[str, Sequence[float]]) -> bytes:
    """Returns the beginning of an answer, up to its first point."""
    return orjson.dumps({"seconds": POINT_SECONDS, "bounds": bounds})[:-1] + b',"points":['


def _since(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the differences between two counts, without those that are 0."""
    return {
        **{name: total - before["sums"][name] for name, total in after["sums"].items()},
        **{kind: _grown(before[kind], after[kind]) for kind in ("dropped", "closed")},
        "histograms": {
            name: [[index, more] for index, more in enumerate(map(sub, counts, before["histograms"][name])) if more]
            for name, counts in after["histograms"].items()
        },
    }


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: total - before[name] for name, total in after.items() if total != before[name]}


def past_routes(
    ring: PastRing, broadcaster: Node, access: Access, answers: LongAnswers, everywhere: AllPasts | None = None
) -> APIRouter:
    """`GET /stats/past`. `everywhere`: where there are other workers."""
    router = make_router(broadcaster.tally.reject)

    async def past(scope: Scope = "worker") -> Response:
        """The last hour, a point for each twelve seconds: what charts of it are drawn from."""
        if everywhere is not None and scope == "all":
            return answers.json(await everywhere.past())
        return answers.json(ring.parts())

    router.add_api_route(
        "/stats/past",
        past,
        dependencies=operator_guards(access),
        responses={
            200: {"model": Past if everywhere is None else Past | everywhere.model},
            **errors(*REFUSED_WITH_KEY, ErrorCode.FULL),
        },
    )
    return router
