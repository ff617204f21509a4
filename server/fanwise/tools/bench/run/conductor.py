"""Starts the workers of a run, takes them from phase to phase, and merges their reports."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_uint64
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from time import monotonic_ns

from ..errors import BenchFailedError
from ..load.plan import Plan
from ..load.snapshots import Phase, Snapshot
from .meter import CpuSample, Watched, cpu_between
from .results import Results
from .shared_counters import SharedCounters
from .worker import CONNECT_SECONDS, REPORT_NS, run_worker

_START_NS = 100_000_000  # from the order to measure until it begins: all workers have heard it by then
_SPARE_SECONDS = 30.0  # what a phase may take beyond its own bound before the run is given up
_FINISH_SECONDS = 30.0


class Conductor:
    """One run. `on_progress` is called with the score, four times a second, and with the name of the phase.

    Args:
        server_pid: In the plan, so that memory can be read; without it there is none to show.
    """

    def __init__(self, plan: Plan, on_progress: Callable[[str, Results], None]) -> None:
        self._plan = plan
        self._on_progress = on_progress
        self._score = Results(plan)
        self._pipes: dict[int, Pipe] = {}  # {worker: the pipe to it}
        self._server = None if plan.server_pid is None else Watched(plan.server_pid)
        self._cpu: tuple[int, CpuSample] | None = None  # (when, the server's) at the last look

    def run(self) -> Results:
        """From connecting to the last figure.

        Raises:
            BenchFailedError: Clients did not connect, nothing came, or a worker ended.
        """
        plan, score = self._plan, self._score
        with self._workers():
            self._phase("connected", CONNECT_SECONDS)
            self._look()
            self._order(0)
            self._phase("warm", plan.warmup_seconds)
            score.start_ns = monotonic_ns() + _START_NS
            self._order(score.start_ns)
            self._phase("drained", plan.duration_seconds + plan.drain_seconds)
            score.stopped_ns = monotonic_ns()
            score.mark()
            self._look()
            self._order(0)
            self._phase("finished", _FINISH_SECONDS)
            if score.has_more:
                score.mark()
        return score

    @contextmanager
    def _workers(self) -> Iterator[None]:
        context = multiprocessing.get_context("spawn")
        cells = context.RawArray(c_uint64, SharedCounters.cells_needed(self._plan))
        processes: list[SpawnProcess] = []
        try:
            for index in range(self._plan.workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=run_worker, args=(self._plan, index, cells, theirs), daemon=True)
                process.start()
                theirs.close()
                self._pipes[index] = ours
                processes.append(process)
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
            for pipe in self._pipes.values():
                pipe.close()

    def _phase(self, name: str, limit_seconds: float) -> None:
        waiting = dict(self._pipes)
        limit_ns = monotonic_ns() + int((limit_seconds + _SPARE_SECONDS) * 1e9)
        next_look_ns = monotonic_ns() + REPORT_NS
        problems: list[str] = []
        while waiting:
            now_ns = monotonic_ns()
            if now_ns > limit_ns:
                raise BenchFailedError(f"the generator's processes did not get {name} in time")
            if now_ns >= next_look_ns:
                next_look_ns += REPORT_NS
                self._progress(name, now_ns)
            self._hear(waiting, problems, max((next_look_ns - now_ns) / 1e9, 0))
        if problems:
            raise BenchFailedError("; ".join(problems))

    def _hear(self, waiting: dict[int, Pipe], problems: list[str], wait_seconds: float) -> None:
        numbers = {id(pipe): worker for worker, pipe in waiting.items()}
        for pipe in wait(list(waiting.values()), wait_seconds):
            worker = numbers[id(pipe)]
            try:
                said = waiting[worker].recv()
            except EOFError as error:
                raise BenchFailedError(f"process {worker} of the generator ended unexpectedly") from error
            if isinstance(said, Snapshot):
                self._score.add(said)
            elif isinstance(said, Phase):
                if said.name == "failed":
                    raise BenchFailedError(f"process {worker} of the generator failed: {said.problem}")
                problems += [said.problem] if said.problem else []
                del waiting[worker]

    def _order(self, moment_ns: int) -> None:
        for pipe in self._pipes.values():
            pipe.send(moment_ns)

    def _progress(self, name: str, now_ns: int) -> None:
        self._look()
        if name == "drained" and now_ns > self._score.start_ns:
            self._score.mark()
        self._on_progress(name, self._score)

    def _look(self) -> None:
        """Samples the server's memory and its CPU of this moment."""
        if self._server is None:
            return
        server, rss = self._score.server, self._server.rss_bytes()
        server.cpus = server.cpus or self._server.cpus()
        server.rss_start_bytes = server.rss_start_bytes or rss
        server.rss_peak_bytes = max(server.rss_peak_bytes or 0, rss)
        now_ns, cpu = monotonic_ns(), self._server.cpu()
        if self._cpu is not None and now_ns > self._cpu[0]:
            server.cpu_share_now = cpu_between(self._cpu[1], cpu) * 1e9 / (now_ns - self._cpu[0])
        self._cpu = (now_ns, cpu)
