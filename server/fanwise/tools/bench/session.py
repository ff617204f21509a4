"""One call of `fanwise bench`: its servers, its plans and its output."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from ..local_server import running
from .load.plan import Plan, new_token
from .options import Options
from .output.console import capacity_lines, factor_lines, lines, load
from .output.html import page
from .output.json import of_capacity, of_everything, of_run
from .output.progress import make_progress
from .run.capacity import Capacity, find_capacity
from .run.closings import placed, server_times
from .run.comparison import Comparison, compare
from .run.conductor import Conductor
from .run.meter import cpus
from .run.results import Results
from .run.servers import BASELINES, FANWISE, PATH

_PROBE_DELIVERIES = 20_000  # a second: where the search for the capacity begins


class Session:
    """One call of the command. Progress goes to `progress`, results to `results`."""

    def __init__(self, options: Options, *, progress: TextIO, results: TextIO) -> None:
        self._options = options
        self._progress = progress
        self._results = results
        self._runs: list[tuple[str, Results]] = []
        self._factors: Comparison | None = None
        self._capacity: Capacity | None = None
        self._server_cpus, self._worker_cpus = _divided(cpus()) if options.pin else ((), ())

    def run(self) -> int:
        """Everything that was asked for; returns the exit status.

        Raises:
            NotStartedError: A server did not start.
            BenchFailedError: A run came to nothing.
        """
        if self._worker_cpus:
            os.sched_setaffinity(0, self._worker_cpus)  # the display must not take from the server
        name = self._options.plan.url or "Fanwise"
        with self._target(FANWISE) as plan:
            if self._options.capacity is not None:
                self._find_capacity(name, plan)
            else:
                self._measure(name, plan)
        if self._options.against:
            self._against(self._options.against)
        self._write_files()
        return self._status()

    @contextmanager
    def _target(self, arguments: tuple[str, ...]) -> Iterator[Plan]:
        plan = replace(self._options.plan, worker_cpus=self._worker_cpus)
        if plan.url:
            yield plan
            return
        with running(arguments, cpus=self._server_cpus) as server:
            yield replace(plan, url=server.url("ws", PATH), server_pid=server.pid)

    def _measure(self, name: str, plan: Plan) -> Results:
        score = self._once(f"{name}: {load(plan)}", plan)
        self._runs.append((name, score))
        self._say(lines(name, score))
        return score

    def _once(self, title: str, plan: Plan) -> Results:
        with make_progress(self._progress, title) as display:
            score = Conductor(replace(plan, token=new_token()), display.progress).run()
        if score.drops:
            score.drops = placed(score.drops, server_times(plan.url, plan.headers, start_ns=score.start_ns))
        return score

    def _against(self, rival: str) -> None:
        with self._target(BASELINES[rival]) as plan:
            theirs = self._measure(rival, plan)
        self._factors = compare(self._runs[0][1], theirs, rival=rival)
        self._say(factor_lines(rival, self._factors))

    def _find_capacity(self, name: str, plan: Plan) -> None:
        bound = self._options.capacity
        if bound is None:
            raise AssertionError("without a bound there is nothing to find")
        first_rate = plan.rate or max(_PROBE_DELIVERIES / plan.clients, 1.0)

        def at(rate: float) -> Results:
            return self._once(f"{name} at {rate:.1f} messages/s", replace(plan, rate=rate))

        self._capacity = find_capacity(bound, first_rate, at)
        if self._capacity.held is not None:
            self._runs.append((name, self._capacity.held.score))
            self._say(lines(name, self._capacity.held.score))
        self._say(capacity_lines(self._capacity))

    def _say(self, told: list[str]) -> None:
        self._results.write("\n".join(told) + "\n")
        self._results.flush()

    def _write_files(self) -> None:
        options = self._options
        if not options.json_file and not options.html_file:
            return
        factors = {"rival": options.against, **self._factors.record()} if self._factors else None
        whole = of_everything(
            [of_run(name, score) for name, score in self._runs],
            factors=factors,
            capacity=of_capacity(self._capacity) if self._capacity else None,
        )
        if options.json_file:
            Path(options.json_file).write_text(json.dumps(whole, indent=1) + "\n")
        if options.html_file:
            Path(options.html_file).write_text(page(whole))

    def _status(self) -> int:
        """0 without a flaw; 1 with one, 3 without a verdict. Of a comparison and a search only Fanwise's own counts."""
        if self._capacity is not None:
            return 3 if self._capacity.limited else 0 if self._capacity.held else 1
        score = self._runs[0][1]
        if score.flaws or not score.deliveries:
            return 1
        return 3 if score.bottleneck else 0


def _divided(available: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(the server's CPUs, the generator's): the first for the server; nothing is pinned where there is only one."""
    return ((available[0],), tuple(available[1:])) if len(available) > 1 else ((), ())
