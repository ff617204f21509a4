"""Documents as GET /stats answers them, for those who read them."""

from __future__ import annotations

from typing import Any

CLIENT: dict[str, Any] = {
    "id": "98049d8164be3b02",
    "address": "127.0.0.1:36836",
    "dialect": "plain",
    "path": "direct",
    "state": "behind",
    "channels": ["news", "sport"],
    "subscriptions": 2,
    "lag": 90,
    "lag_bytes": 12_300,
    "buffered_bytes": 141,
    "behind_seconds": 1.25,
    "rtt_seconds": None,
    "connected_seconds": 60.0,
}
CHANNEL: dict[str, Any] = {
    "name": "news",
    "epoch": "7b54f2d7a4f4",
    "head": 12_345,
    "clients": 41,
    "ready": 40,
    "retained": 281,
    "retained_bytes": 38_500,
    "deliveries": 1_000,
    "skipped": 0,
    "publications_per_second": 59.8,
    "forgiven": {"seconds": 17.1, "bound": "queue_messages", "hidden_seconds": 0.0},
}
CLOSED: dict[str, Any] = {
    "id": "89e087d5e3af61f3",
    "address": "127.0.0.1:42248",
    "reason": "slow",
    "code": 4008,
    "at": 1_763_799_940.25,
    "lag": 1025,
}

WORKER: dict[str, Any] = {
    "worker": "3f9a01c4",
    "host": "front-1",
    "pid": 42,
    "version": "0.1.0",
    "ready": True,
    "draining": False,
    "uptime_seconds": 12.5,
    "loop_lag_seconds": 0.0004,
    "clients": 105,
    "behind": 3,
    "channels": 5,
    "rss_bytes": 34_600_000,
    "cpu_seconds": 0.6,
    "publications": 500,
    "deliveries": 20_500,
    "drops": 7,
}


def histogram(*counts: int) -> dict[str, Any]:
    return {"bounds": [0.001, 0.01, 0.1], "counts": list(counts), "sum": 0.0}


def document(**changes: Any) -> dict[str, Any]:
    """A server that has been up for 12.5 s, with `changes` instead of some of its fields."""
    base = {
        "version": 1,
        "at": 1_763_800_000.25,
        "uptime_seconds": 12.5,
        "server": {
            "version": "0.1.0",
            "python": "3.11.7",
            "pid": 42,
            "loop": "uvloop",
            "gc_thresholds": [50_000, 50, 1000],
            "sweep": "io_uring",
            "sweep_why": "",
        },
        "state": {"ready": True, "draining": False, "loop_lag_seconds": 0.0004},
        "now": {
            "clients": 205,
            "behind": 3,
            "channels": 5,
            "retained_bytes": 1_260_000,
            "rss_bytes": 69_300_000,
            "cpu_seconds": 1.2,
            "descriptors": 240,
        },
        "totals": {"connections": 210, "publications": 1_000, "deliveries": 41_000, "delivered_bytes": 5_000_000},
        "dropped": {"gap_slow": 5, "closed_slow": 10},
        "gaps": {"history": 0, "epoch": 0, "slow": 1, "backplane": 0},
        "closed": {"normal": 5, "slow": 1},
        "rejected": {"full": 0},
        "histograms": {
            "ready_age_seconds": histogram(0, 0, 0, 0),
            "catching_up_age_seconds": histogram(0, 0, 0, 0),
            "loop_lag_seconds": histogram(10, 0, 0, 0),
        },
        "limits": {"max_message_bytes": 65_536},
        "clients": [CLIENT],
        "channels": [CHANNEL],
        "closed_clients": [CLOSED],
        "forgiven": {"seconds": 17.1, "bound": "queue_messages", "hidden_seconds": 0.0, "channel": "news"},
    }
    return {**base, **changes}


def of_workers(*workers: dict[str, Any], silent: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """A document of all workers."""
    names = [worker["worker"] for worker in workers]
    lists = {
        "clients": [{**CLIENT, "worker": names[0]}],
        "channels": [{**CHANNEL, "workers": names}],
        "closed_clients": [{**CLOSED, "worker": names[-1]}],
    }
    return document(workers=list(workers), silent=list(silent), **lists, **changes)
