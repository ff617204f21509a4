"""The last hour of all workers: `GET /stats/past?scope=all`.

Workers take their points at the same times, and a sum has the points of one time. Workers that have ended took their
points with them: the answer is of those that are there now, and each point says how many of them it has.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, Field

from ...broadcaster.survey import Survey
from ...broadcaster.turns import SharedTurn
from ..past import POINTS, SUMS, PastPoint, PastRing, head_of, slot_of
from .lists import Desk
from .models import Silent, WorkerInfo, workers_of
from .rows import Part, read_rows

_ADDED: Final = ("clients", "retained_bytes", "rss_bytes", *SUMS)
_COUNTED: Final = ("dropped", "closed")


class PastHead(BaseModel):
    """What an answer of points says beside them."""

    bounds: dict[str, list[float]]
    total: Annotated[int, Field(ge=0, description="number of the points, also of those that did not fit")]


class FleetPoint(PastPoint):
    """The sum of the workers' points of one time. The delay is the largest of all."""

    workers: Annotated[int, Field(description="how many workers it is of")]


class FleetPast(BaseModel):
    """The last hour of the workers that are there now, the oldest point first."""

    seconds: Annotated[int, Field(description="between two points, about")]
    bounds: Annotated[dict[str, list[float]], Field(description="of the histograms' buckets, as `/stats` has them")]
    points: list[FleetPoint]
    workers: list[WorkerInfo]
    silent: Silent


class FleetPasts:
    """Adds the points of all workers.

    Args:
        survey: Returns what asks the workers.
        ring: The points of this worker.
        count_bytes: Counts memory of answers; a negative number was let go.
    """

    model: type[BaseModel] = FleetPast

    def __init__(self, survey: Callable[[], Survey], ring: PastRing, count_bytes: Callable[[int], None]) -> None:
        self._survey = survey
        self._ring = ring
        self._desk = Desk(count_bytes)

    async def past(self) -> AsyncGenerator[bytes, None]:
        """Returns the JSON of a `FleetPast`, in parts. Raises CodedError if too many are asked for."""
        async with self._desk.place():
            gathered = await self._survey().ask("past")
            bounds = {name: list(one) for name, one in self._ring.bounds().items()}
            read, wrong = await read_rows(gathered.answers, PastHead, PastPoint)
            alike = [part for part in read if part.head.bounds == bounds and len(part.rows) <= POINTS]
            wrong += sorted({part.worker for part in read} - {part.worker for part in alike})
            rows = await add_points(alike)
        told = {"workers": workers_of(gathered), "silent": sorted({*gathered.silent, *wrong})}
        return self._desk.send(head_of(bounds), rows, b"]," + orjson.dumps(told)[1:])


async def add_points(parts: Sequence[Part[PastHead, PastPoint]]) -> list[bytes]:
    """Returns the sums of points of one time as JSON, the oldest first. Holds the loop for 1 ms at a time.

    What is older than a point that did not fit into its worker's answer is left out: no sum lacks a worker that has
    one.
    """
    cut = [slot_of(part.rows[-1].at) if part.rows else 0 for part in parts if len(part.rows) < part.head.total]
    first, turn = max(cut, default=0), SharedTurn()
    sums: dict[int, dict[str, Any]] = {}
    for part in parts:
        for point in part.rows:
            slot = slot_of(point.at)
            if slot >= first:
                sums[slot] = _add(sums.get(slot), point)
            await turn.give_way()
    rows = []
    for slot in sorted(sums)[-POINTS:]:
        rows.append(orjson.dumps(_listed(sums[slot])))
        await turn.give_way()
    return rows


def _add(before: dict[str, Any] | None, point: PastPoint) -> dict[str, Any]:
    """Returns a sum with one more point. Histograms are {name: {bucket: values}} until `_listed`."""
    counts = {name: dict(pairs) for name, pairs in point.histograms.items()}
    if before is None:
        return {**point.model_dump(), "histograms": counts, "workers": 1}
    return {
        **before,
        **{name: max(before[name], getattr(point, name)) for name in ("at", "seconds", "loop_lag_seconds")},
        **{name: before[name] + getattr(point, name) for name in _ADDED},
        **{name: _sum(before[name], getattr(point, name)) for name in _COUNTED},
        "histograms": {name: _sum(before["histograms"].get(name, {}), one) for name, one in counts.items()},
        "workers": before["workers"] + 1,
    }


def _sum(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    return {**one, **{name: one.get(name, 0) + count for name, count in other.items()}}


def _listed(point: dict[str, Any]) -> dict[str, Any]:
    histograms = {name: sorted(map(list, counts.items())) for name, counts in point["histograms"].items()}
    return {**point, "histograms": histograms}
