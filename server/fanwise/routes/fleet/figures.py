"""The figures of all workers in one document: `GET /stats?scope=all`, and what `WS /live` sends.

Counters are added. A worker that has not answered counts with its latest figures for KEPT_SECONDS, and is listed as
silent: so no counter goes down while the workers stay the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from ...broadcaster.survey import Gathered, Survey
from ...broadcaster.turns import SharedTurn
from ..stats import COUNTED, LISTED, BusyChannel, EngineStanding, Lists, Stats, Summary
from .lists import MOST_CLOSED, add_channel
from .models import FleetStats, workers_of
from .rows import fields_of

KEPT_SECONDS: Final = 10.0
_SUMS: Final = ("clients", "behind", "channels", "retained_bytes", "rss_bytes", "cpu_seconds", "descriptors")
Document = TypeVar("Document", bound=Summary | Lists)


class WorkerSummary(Summary):
    """What a worker answers to "summary"."""

    published: int


class WorkerStats(Stats):
    """What a worker answers to "stats"."""

    published: int


class _Kept(NamedTuple):
    heard_at: float
    document: Any


class FleetCollector:
    """Collects the figures of all workers. Owns the latest of each, for seconds in which it does not answer.

    Args:
        survey: Returns what asks the workers.
    """

    model: type[BaseModel] = FleetStats

    def __init__(self, survey: Callable[[], Survey]) -> None:
        self._survey = survey
        self._kept: dict[str, dict[str, _Kept]] = {}  # {kind: {worker: its latest answer}}

    async def summary(self) -> dict[str, Any]:
        """Returns a `Summary` of all workers, with `workers` and `silent`."""
        gathered, documents, silent = await self._gather("summary", WorkerSummary)
        return add_summaries(self._survey().worker, documents, gathered, silent)

    async def lists(self) -> dict[str, Any]:
        """Returns `Lists` of all workers."""
        _, documents, _ = await self._gather("lists", Lists)
        return join_lists(documents)

    async def stats(self) -> dict[str, Any]:
        """Returns a `FleetStats`."""
        gathered, documents, silent = await self._gather("stats", WorkerStats)
        own = documents[self._survey().worker]
        summary = add_summaries(self._survey().worker, documents, gathered, silent)
        beside = {"server": own.server.model_dump(), "limits": own.limits}
        return {**summary, **beside, **join_lists(documents), "at": summary["at"]}

    async def _gather(self, kind: str, model: type[Document]) -> tuple[Gathered, dict[str, Document], list[str]]:
        """Asks; returns also the documents of all workers that have one, and those that have not answered now."""
        gathered = await self._survey().ask(kind)
        now, turn = time.monotonic(), SharedTurn()
        before = self._kept.get(kind, {})
        kept = {
            worker: one
            for worker, one in before.items()
            if worker in gathered.workers and now - one.heard_at < KEPT_SECONDS
        }
        silent = set(gathered.silent)
        for worker, answer in gathered.answers.items():
            try:
                kept[worker] = _Kept(now, model.model_validate_json(answer, strict=True))
            except ValidationError:
                silent.add(worker)
            await turn.give_way()
        self._kept[kind] = kept
        return gathered, {worker: kept[worker].document for worker in sorted(kept)}, sorted(silent)


def add_summaries(
    own: str, documents: Mapping[str, WorkerSummary | WorkerStats], gathered: Gathered, silent: list[str]
) -> dict[str, Any]:
    """Returns the `Summary` of several workers. The names that are counted are those of worker `own`."""
    all_of = list(documents.values())
    mine = documents[own]
    at = time.time()
    state = [one.state for one in all_of]
    return {
        "version": mine.version,
        "at": at,
        "uptime_seconds": max(0.0, at - min(one.at - one.uptime_seconds for one in all_of)),
        "state": {
            "ready": all(one.ready for one in state),
            "draining": all(one.draining for one in state),
            "loop_lag_seconds": max(one.loop_lag_seconds for one in state),
        },
        "now": {name: _sum(getattr(one.now, name) for one in all_of) for name in _SUMS},
        "totals": {
            **_add(mine.totals.model_dump(), [one.totals.model_dump() for one in all_of]),
            "publications": sum(one.published for one in all_of),
        },
        **{
            name: _add(getattr(mine, name), [getattr(one, name) for one in all_of])
            for name in ("dropped", "dropped_clients", "gaps", "closed", "rejected")
        },
        "histograms": {name: _add_histograms(name, mine, all_of) for name in mine.histograms},
        "backplane": _worst([one.backplane for one in all_of if one.backplane is not None]),
        "workers": [
            {**info, **_figures(documents[info["worker"]])}
            for info in workers_of(gathered)
            if info["worker"] in documents
        ],
        "silent": silent,
    }


def join_lists(documents: Mapping[str, Lists]) -> dict[str, Any]:
    """Returns the `Lists` of several workers, as long as those of one, with the columns `worker` and `workers`."""
    clients = [fields_of(one, worker=worker) for worker, document in documents.items() for one in document.clients]
    closed = [
        fields_of(one, worker=worker) for worker, document in documents.items() for one in document.closed_clients
    ]
    channels: dict[str, dict[str, Any]] = {}
    for worker, document in documents.items():
        for channel in document.channels[:LISTED]:
            channels[channel.name] = _add_busy(channels.get(channel.name), channel, worker)
    least = [document.forgiven for document in documents.values() if document.forgiven is not None]
    return {
        "at": time.time(),
        "clients": sorted(clients, key=itemgetter("lag_bytes"), reverse=True)[:LISTED],
        "channels": sorted(channels.values(), key=_traffic, reverse=True)[:LISTED],
        "forgiven": min(least, key=lambda one: one.seconds).model_dump() if least else None,
        "closed_clients": sorted(closed, key=itemgetter("at"), reverse=True)[:MOST_CLOSED],
    }


def _traffic(channel: Mapping[str, Any]) -> tuple[float, int]:
    return channel["publications_per_second"] or 0.0, channel["clients"]


def _add_busy(before: dict[str, Any] | None, row: BusyChannel, worker: str) -> dict[str, Any]:
    after = add_channel(before, row, worker)
    if before is None:
        return after
    own = None if row.forgiven is None else row.forgiven.model_dump()
    pauses: list[dict[str, Any]] = [one for one in (before["forgiven"], own) if one is not None]
    rates = [one for one in (before["publications_per_second"], row.publications_per_second) if one is not None]
    return {
        **after,
        **{name: before[name] + getattr(row, name) for name in ("ready", "deliveries", "skipped")},
        "publications_per_second": max(rates, default=None),
        "forgiven": min(pauses, key=itemgetter("seconds"), default=None),
        "most_per_second": max(before["most_per_second"], row.most_per_second),
        "message_bytes": before["message_bytes"] if row.message_bytes is None else row.message_bytes,
    }


def _figures(document: WorkerSummary | WorkerStats) -> dict[str, Any]:
    """Returns what `WorkerFigures` says beside `WorkerInfo`."""
    now, state = document.now, document.state
    return {
        **state.model_dump(),
        "uptime_seconds": document.uptime_seconds,
        **{name: getattr(now, name) for name in ("clients", "behind", "channels", "rss_bytes", "cpu_seconds")},
        "publications": document.published,
        "deliveries": document.totals.deliveries,
        "drops": sum(document.dropped.values()),
    }


def _worst(engines: Sequence[EngineStanding]) -> dict[str, Any] | None:
    """Returns how the worker stands with the engine that stands worst, with the counts of all."""
    if not engines:
        return None
    worst = min(engines, key=lambda one: (one.up, -one.behind))
    return {**worst.model_dump(), **{name: sum(getattr(one, name) for one in engines) for name in COUNTED}}


def _sum(numbers: Iterable[float | None]) -> float | None:
    """Returns the sum of the numbers; None if there is none."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _add(names: Iterable[str], counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(one.get(name, 0) for one in counts) for name in names}


def _add_histograms(name: str, mine: BaseModel, documents: Sequence[Summary]) -> dict[str, Any]:
    """Returns the sum of the histograms with the own bounds."""
    assert isinstance(mine, Summary)
    bounds = mine.histograms[name].bounds
    found = [one.histograms[name] for one in documents if name in one.histograms]
    alike = [one for one in found if one.bounds == bounds and len(one.counts) == len(bounds) + 1]
    counts = [sum(column) for column in zip(*(one.counts for one in alike), strict=True)]
    return {"bounds": bounds, "counts": counts, "sum": sum(one.sum for one in alike)}
