"""A process that carries a share of the clients: phases, publishers, and what it reports. Started by `conductor`."""

from __future__ import annotations

import copy
import gc
import os
import resource
import select
import time
import traceback
from collections.abc import Callable
from ctypes import Array, c_uint64
from functools import partial
from multiprocessing.connection import Connection as Pipe
from time import monotonic_ns

from ....errors import FanwiseError
from ...load.behaviour import READ_LATE, Behaviour
from ...load.histogram import Histogram
from ..load.crowd import Crowd
from ..load.pace import steady, times
from ..load.plan import Plan
from ..load.publisher import Publisher
from ..load.snapshots import Phase, Snapshot
from .meter import Watched, contended_seconds, cpu_between, sample_self
from .shared_counters import SharedCounters

REPORT_NS = 250_000_000
CONNECT_SECONDS = 60.0
_FATES_NS = 2_000_000_000  # for the rest of what stalled clients were sent
_QUIET_NS = 200_000_000  # and then nothing more is to be expected
_WARMUP_RATE = 50.0  # messages a second: one is there before the next one comes
_OTHERS_SECONDS = 0.001  # how often to look whether the clients of other workers have made room


class Worker:
    """Runs a worker's part of a plan, phase by phase; an order from the pipe begins each."""

    def __init__(self, plan: Plan, index: int, counters: SharedCounters, pipe: Pipe) -> None:
        self._plan = plan
        self._index = index
        self._counters = counters
        self._pipe = pipe
        self._crowd = Crowd(plan, index)
        self._crowd.publisher_gone = self._publisher_gone
        self._publishers: dict[int, Publisher] = {}  # {channel: its publisher}
        self._next_report_ns = 0
        self._cpu_began = 0.0
        self._server_cpu_seconds: float | None = None
        self._idle_seconds = 0.02 if plan.workers == 1 else _OTHERS_SECONDS
        self._undelivered = 0
        self._cpu_seconds = self._waited_seconds = 0.0  # of the measurement
        self._crowd.engine.watch(pipe.fileno(), select.EPOLLIN, lambda _mask: None)  # an order ends a turn

    def run(self) -> None:
        """All phases; returns when the order to finish has been carried out."""
        crowd, plan = self._crowd, self._plan
        expected = len(plan.share(self._index)) + len(plan.publishes(self._index))
        self._until(lambda: crowd.settled and crowd.ready + crowd.failed >= expected, CONNECT_SECONDS)
        self._make_publishers()
        self._answer("connected", self._problem_of_connecting(expected))
        self._order()
        self._warm_up()
        self._answer("warm", self._problem_of_warming())
        start_ns = self._order()
        self._measure(start_ns)
        self._answer("drained")
        self._order()
        self._learn_fates()
        self._report()
        self._answer("finished")

    def close(self) -> None:
        """Closes all sockets."""
        self._crowd.close()

    def _warm_up(self) -> None:
        now_ns, count = monotonic_ns(), self._plan.warmup_messages
        for publisher in self._publishers.values():
            stop_ns = now_ns + int((count - 0.5) / _WARMUP_RATE * 1e9)
            publisher.at_times(steady(_WARMUP_RATE, now_ns), stop_ns=stop_ns)
        self._until(self._is_warm, self._plan.warmup_seconds)
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here refers to itself in a circle

    def _is_warm(self) -> bool:
        sent = [self._plan.warmup_messages] * self._plan.channels
        return all(publisher.finished for publisher in self._publishers.values()) and not self._crowd.behind(sent)

    def _measure(self, start_ns: int) -> None:
        plan = self._plan
        server = Watched(plan.server_pid) if self._index == 0 and plan.server_pid is not None else None
        server_began = server and server.cpu()
        self._until(lambda: monotonic_ns() >= start_ns, 1.0)
        self._crowd.start(start_ns)
        stop_ns = start_ns + int(plan.duration_seconds * 1e9)
        for channel, publisher in self._publishers.items():
            if plan.saturates:
                publisher.saturate(plan.window_messages, start_ns=start_ns, stop_ns=stop_ns)
            else:
                publisher.at_times(times(plan, channel, start_ns), stop_ns=stop_ns)
        began = sample_self()
        self._cpu_began = began.cpu_seconds
        self._until(lambda: monotonic_ns() >= stop_ns, plan.duration_seconds)
        self._until(self._is_drained, plan.drain_seconds)
        ended = sample_self()
        self._cpu_seconds = ended.cpu_seconds - began.cpu_seconds
        self._waited_seconds = contended_seconds(began, ended)
        self._undelivered = self._crowd.behind(self._counters.all_sent())
        if server and server_began:
            self._server_cpu_seconds = cpu_between(server_began, server.cpu())
        self._report()

    def _learn_fates(self) -> None:
        moved_ns, limit_ns = monotonic_ns(), monotonic_ns() + _FATES_NS
        while monotonic_ns() - moved_ns < _QUIET_NS and monotonic_ns() < limit_ns:
            if self._crowd.fates():
                moved_ns = monotonic_ns()
            self._step()

    def _is_drained(self) -> bool:
        return self._counters.all_finished() and not self._crowd.behind(self._counters.all_sent())

    def _until(self, condition: Callable[[], bool], limit_seconds: float) -> None:
        limit_ns = monotonic_ns() + int(limit_seconds * 1e9)
        while not condition() and monotonic_ns() < limit_ns:
            self._step()

    def _step(self) -> None:
        now_ns, idle_seconds = monotonic_ns(), self._idle_seconds
        for channel, publisher in self._publishers.items():
            blocked = publisher.blocked
            publisher.pump(now_ns)
            if publisher.blocked != blocked and not publisher.lost:
                self._crowd.engine.want_write(self._crowd.publishers[channel].fd, publisher.blocked)
            self._counters.sent(channel, publisher.sequence, finished=publisher.finished)
            idle_seconds = min(idle_seconds, publisher.due_seconds(now_ns))
        self._crowd.tick(now_ns)
        self._crowd.engine.turn(min(idle_seconds, self._crowd.agenda.due_seconds(now_ns)))
        for channel, progress in enumerate(self._crowd.progress):
            self._counters.post(self._index, channel, progress.lowest)
        if now_ns >= self._next_report_ns and self._crowd.start_ns:
            self._report()

    def _make_publishers(self) -> None:
        for channel, connection in self._crowd.publishers.items():
            self._publishers[channel] = Publisher(
                connection.socket,
                payloads=self._plan.payloads(channel),
                dialect=self._crowd.dialect,
                channel=self._plan.channel(channel),
                key_of=partial(self._plan.key_of, channel),
                done=lambda channel=channel: self._counters.lowest(channel),  # type: ignore[misc]
            )

    def _publisher_gone(self, channel: int) -> None:
        if channel in self._publishers:
            self._publishers[channel].lost = True

    def _problem_of_connecting(self, expected: int) -> str:
        crowd = self._crowd
        missing = expected - crowd.ready
        if not missing:
            return ""
        reasons = "; ".join(f"{reason} ({times} times)" for reason, times in crowd.notes.most_common(3))
        return f"{missing} of {expected} clients did not connect: {reasons or f'not within {CONNECT_SECONDS:g} s'}"

    def _problem_of_warming(self) -> str:
        cold = self._crowd.behind([1] * self._plan.channels)
        if not cold:
            return ""
        healthy = self._crowd.open_clients().get(Behaviour.HEALTHY, 0)
        return f"{cold} of {healthy} clients received nothing of what was published to warm up"

    def _order(self) -> int:
        """Waits for the order to go on, and serves all clients meanwhile; returns the moment that it names."""
        while not self._pipe.poll():
            self._step()
        moment: int = self._pipe.recv()
        return moment

    def _answer(self, phase: str, problem: str = "") -> None:
        self._pipe.send(Phase(self._index, phase, problem))

    def _report(self) -> None:
        now_ns, crowd = monotonic_ns(), self._crowd
        self._next_report_ns = now_ns + REPORT_NS
        tallies = {kind: copy.copy(tally) for kind, tally in crowd.tallies.items()}
        for kind, tally in crowd.tallies.items():
            tally.latency = Histogram()
            if crowd.ending and kind in READ_LATE:  # read only because the run is over: says nothing of its age
                tallies[kind].latency = Histogram()
        late = Histogram()
        for publisher in self._publishers.values():
            late.merge(publisher.late)
            publisher.late = Histogram()
        lag, crowd.engine.lag = crowd.engine.lag, Histogram()
        drops, crowd.drops = crowd.drops, []
        snapshot = Snapshot(
            worker=self._index,
            at_ns=now_ns,
            tallies=tallies,
            published={channel: publisher.sequence for channel, publisher in self._publishers.items()},
            open_clients=crowd.open_clients(),
            drops=drops,
            drop_counts=dict(crowd.drop_counts),
            lag=lag,
            late=late,
            cpu_seconds=self._cpu_seconds or time.process_time() - self._cpu_began,
            waited_seconds=self._waited_seconds,
            undelivered=self._undelivered,
            flaps=crowd.flaps,
            notes=dict(crowd.notes),
            server_cpu_seconds=self._server_cpu_seconds,
        )
        self._pipe.send(snapshot)


def run_worker(plan: Plan, index: int, cells: Array[c_uint64], pipe: Pipe) -> None:
    """The main function of a worker process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if plan.worker_cpus:
        os.sched_setaffinity(0, {plan.worker_cpus[index % len(plan.worker_cpus)]})
    try:
        worker = Worker(plan, index, SharedCounters(cells, workers=plan.workers, channels=plan.channels), pipe)
        try:
            worker.run()
        finally:
            worker.close()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # the conductor is gone, or ends this worker
    except FanwiseError as error:
        pipe.send(Phase(index, "failed", str(error)))
    except Exception:  # noqa: BLE001 - the process ends with it; the conductor reports it to the user
        pipe.send(Phase(index, "failed", traceback.format_exc()))
