"""A run as plain data, for `--json` and for the page. Units are in the names; what is not known is null."""

from __future__ import annotations

import os
import platform
import time
from typing import Any

from ...load.behaviour import READ_LATE, Behaviour
from ...load.histogram import lower_bound
from ..load.plan import Plan
from ..run.capacity import Capacity
from ..run.results import QUANTILES, Moment, Results
from .console import load, verdict

FORMAT = 1  # of the file; grows when a name changes its meaning


def machine() -> dict[str, Any]:
    """Returns the origin of the figures."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
    }


def of_run(name: str, score: Results) -> dict[str, Any]:
    """Returns all figures of one run."""
    return {
        "server": name,
        "load": load(score.plan),
        "plan": _of_plan(score.plan),
        "verdict": verdict(score),
        "bottleneck": score.bottleneck,
        "elapsed_seconds": score.elapsed_seconds,
        "published": score.published,
        "deliveries": score.deliveries,
        "deliveries_per_second": score.deliveries_per_second,
        "latency_ms": {name: score.quantile_ms(name) for name in QUANTILES} | {"mean": score.latency.mean_ns / 1e6},
        "latency_histogram": [
            {"from_ms": lower_bound(index) / 1e6, "to_ms": lower_bound(index + 1) / 1e6, "deliveries": count}
            for index, count in score.latency.sparse().items()
        ],
        "flaws": score.flaws,
        "clients": {kind.value: _of_kind(score, kind) for kind in Behaviour},
        "undelivered": score.undelivered,
        "flaps": score.flaps,
        "notes": dict(score.notes),
        "drops": [
            {"kind": kind.value, "cause": cause, "clients": times}
            for (kind, cause), times in score.drop_counts.most_common()
        ],
        "dropped_when": [
            {"at_seconds": drop.at_seconds, "kind": drop.kind.value, "cause": drop.cause} for drop in score.drops
        ],
        **_of_processes(score),
        "timeline": [_of_moment(moment) for moment in score.moments],
    }


def of_capacity(capacity: Capacity) -> dict[str, Any]:
    """The search for the knee, step by step."""
    return {
        "bound": {"percentile": capacity.bound.name, "limit_ms": capacity.bound.limit_ms},
        "held_rate": capacity.held and capacity.held.rate,
        "broke_rate": capacity.broke and capacity.broke.rate,
        "limited": capacity.limited,
        "steps": [
            {
                "rate": step.rate,
                "latency_ms": step.score.quantile_ms(capacity.bound.name),
                "deliveries_per_second": step.score.deliveries_per_second,
                "broken": step.broken,
            }
            for step in capacity.steps
        ],
    }


def of_everything(
    runs: list[dict[str, Any]], *, factors: dict[str, Any] | None, capacity: dict[str, Any] | None
) -> dict[str, Any]:
    """The whole file."""
    return {
        "format": FORMAT,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "runs": runs,
        "factors": factors,
        "capacity": capacity,
    }


def _of_kind(score: Results, kind: Behaviour) -> dict[str, Any]:
    names = ("deliveries", "lost", "duplicates", "reordered", "corrupt", "gaps_told")
    found: dict[str, Any] = {name: score.count(name, kind) for name in names}
    found |= {"open": score.open_clients[kind], "dropped": score.dropped(kind)}
    if kind in READ_LATE:
        found |= {"returned": score.count("returned", kind), "recovered": score.count("recovered", kind)}
        found["staleness_ms"] = {name: score.staleness_ms(kind, name) for name in QUANTILES}
    return found


def _of_plan(plan: Plan) -> dict[str, Any]:
    return {
        "url": plan.url,
        "dialect": plan.dialect,
        "channels": plan.channels,
        "clients": plan.clients,
        "slow": plan.slow,
        "stalled": plan.stalled,
        "flapping": plan.flapping,
        "pausing": plan.pausing,
        "resuming": plan.resuming,
        "bytes_per_second": plan.slow_bytes_per_second,
        "pause_seconds": plan.pause_seconds,
        "awake_seconds": plan.awake_seconds,
        "away_seconds": plan.away_seconds,
        "receive_buffer_bytes": plan.receive_buffer_bytes,
        "seed": plan.seed,
        "replayed": 0 if plan.recording is None else len(plan.recording.readers),
        "recorded_messages": None if plan.recording is None else sum(map(len, plan.recording.channels)),
        "size_bytes": plan.size_bytes,
        "keys": plan.keys,
        "rate": plan.rate,
        "burst_messages": plan.burst_messages,
        "every_seconds": plan.every_seconds if plan.burst_messages else None,
        "window_messages": plan.window_messages if plan.saturates else None,
        "duration_seconds": plan.duration_seconds,
        "workers": plan.workers,
    }


def _of_processes(score: Results) -> dict[str, Any]:
    return {
        "server_process": {
            "cpu_seconds": score.server.cpu_seconds,
            "cpu_cores": score.server_share,
            "cpu_per_delivery_ns": score.cpu_per_delivery_ns,
            "rss_start_bytes": score.server.rss_start_bytes,
            "rss_peak_bytes": score.server.rss_peak_bytes,
        },
        "generator": {
            "processes": [{"cpu_cores": e.cpu_share, "waited_share": e.waited_share} for e in score.efforts],
            "lag_p99_ms": score.lag.quantile_ns(0.99) / 1e6,
            "late_p99_ms": score.late.quantile_ns(0.99) / 1e6,
        },
    }


def _of_moment(moment: Moment) -> dict[str, Any]:
    return {
        "at_seconds": moment.at_seconds,
        "deliveries": moment.deliveries,
        "p50_ms": moment.p50_ms,
        "p99_ms": moment.p99_ms,
        "dropped": moment.dropped,
    }
