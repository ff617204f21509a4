from __future__ import annotations

import multiprocessing
import threading
from ctypes import c_uint64
from time import monotonic_ns
from typing import Any

from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.load.snapshots import Phase, Snapshot
from fanwise.tools.bench.run.shared_counters import SharedCounters
from fanwise.tools.bench.run.worker import Worker, run_worker
from fanwise.tools.load.behaviour import Behaviour

from ....support.bad_server import bad_server


def plan(url: str, **changes: Any) -> Plan:
    values = {"url": url, "clients": 5, "rate": 100.0, "duration_seconds": 0.1, "drain_seconds": 1.0, **changes}
    return Plan(**values)


def test_the_phases_of_a_worker() -> None:
    """Each is reported, and the next one begins when it is ordered to."""
    with bad_server() as url:
        chosen = plan(url)
        ours, theirs = multiprocessing.Pipe()
        counters = SharedCounters((c_uint64 * SharedCounters.cells_needed(chosen))(), workers=1, channels=1)
        worker = Worker(chosen, 0, counters, theirs)
        thread = threading.Thread(target=worker.run)
        thread.start()
        said: list[Any] = []
        for phase in ("connected", "warm", "drained"):
            while not (said and isinstance(said[-1], Phase)) or said[-1].name != phase:
                said.append(ours.recv())
            ours.send(monotonic_ns() if phase == "warm" else 0)
        while not isinstance(said[-1], Phase) or said[-1].name != "finished":
            said.append(ours.recv())
        thread.join()
        worker.close()
    last = [entry for entry in said if isinstance(entry, Snapshot)][-1]
    assert [entry.problem for entry in said if isinstance(entry, Phase)] == [""] * 4
    assert last.published == {0: 15}
    assert last.tallies[Behaviour.HEALTHY].deliveries == 50
    assert last.undelivered == 0


def test_a_failure_is_told() -> None:
    """With its traceback: the process itself has nobody to tell."""
    ours, theirs = multiprocessing.Pipe()
    run_worker(plan("ws://127.0.0.1:1/", dialect="klingon"), 0, (c_uint64 * 3)(), theirs)
    told = ours.recv()
    assert told.name == "failed"
    assert "KeyError" in told.problem


def test_without_the_one_who_started_it_a_worker_ends() -> None:
    """Quietly."""
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    run_worker(plan("ws://127.0.0.1:1/"), 0, (c_uint64 * 3)(), theirs)
