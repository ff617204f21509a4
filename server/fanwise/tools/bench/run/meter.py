"""CPU and memory of processes, as the kernel counts them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..errors import BenchFailedError

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class CpuSample:
    """CPU seconds of a process and its children so far.

    Attributes:
        ticks_seconds: From the kernel's clock ticks, 10 ms each; includes threads that have ended.
        exact_seconds: From the scheduler, in nanoseconds; of the threads in `threads` only.
    """

    ticks_seconds: float
    exact_seconds: float
    threads: frozenset[int]


class Watched:
    """A process and its present children: finding children takes milliseconds, reading their times does not.

    Raises:
        BenchFailedError: There is no such process.
    """

    def __init__(self, pid: int) -> None:
        try:
            parent = psutil.Process(pid)
        except psutil.NoSuchProcess as error:
            raise BenchFailedError(f"there is no process {pid}") from error
        self._processes = [parent, *parent.children(recursive=True)]

    def cpu(self) -> CpuSample:
        """Their CPU so far; an ended process counts nothing."""
        ticks_seconds, exact_ns, threads = 0.0, 0, set()
        for process in self._processes:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            ticks_seconds += times.user + times.system
            for task in _PROC.glob(f"{process.pid}/task/*"):
                threads.add(int(task.name))
                exact_ns += _schedule(task)[0]
        return CpuSample(ticks_seconds, exact_ns / 1e9, frozenset(threads))

    def rss_bytes(self) -> int:
        """Their memory; an ended process has none."""
        total = 0
        for process in self._processes:
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        return total

    def cpus(self) -> int:
        """On how many CPUs they may run; 0 if all have ended."""
        allowed: set[int] = set()
        for process in self._processes:
            try:
                allowed.update(process.cpu_affinity())
            except psutil.Error:
                continue
        return len(allowed)


def cpu_between(before: CpuSample, after: CpuSample) -> float:
    """CPU seconds from one sample to the other; exact when no thread came or went in between."""
    ticks, exact = after.ticks_seconds - before.ticks_seconds, after.exact_seconds - before.exact_seconds
    return exact if exact > 0 and before.threads == after.threads else ticks


@dataclass(frozen=True, slots=True)
class OwnSample:
    """Times of this process and of its CPUs so far, in seconds."""

    at_seconds: float
    cpu_seconds: float
    waited_seconds: float
    idle_seconds: dict[int, float]  # {CPU: idle}


def sample_self() -> OwnSample:
    """Returns the sample of this moment."""
    times = psutil.cpu_times(percpu=True)
    idle_seconds = {cpu: times[cpu].idle + times[cpu].iowait for cpu in cpus() if cpu < len(times)}
    waited = _schedule(_PROC / "self")[1] / 1e9
    return OwnSample(time.monotonic(), time.process_time(), waited, idle_seconds)


def contended_seconds(before: OwnSample, after: OwnSample) -> float:
    """Returns the most seconds for which this process waited while others used its CPUs.

    The kernel also counts the time in which an idle CPU wakes up: long, on virtual machines. Time that is neither idle
    nor ours was taken by others. The least taken of our CPUs bounds the wait.
    """
    wall, own = after.at_seconds - before.at_seconds, after.cpu_seconds - before.cpu_seconds
    taken = [wall - (after.idle_seconds[cpu] - idle) for cpu, idle in before.idle_seconds.items()]
    others = max(min(taken, default=wall) - own, 0.0)
    return min(after.waited_seconds - before.waited_seconds, others)


def cpus() -> list[int]:
    """The CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0))


def _schedule(task: Path) -> tuple[int, int]:
    """(ns on a CPU, ns in line for one) of a task."""
    try:
        ran, waited, *_ = (task / "schedstat").read_text().split()
    except (OSError, ValueError):  # a kernel without it, or the task has just ended
        return 0, 0
    return int(ran), int(waited)
