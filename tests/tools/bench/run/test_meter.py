from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from fanwise.tools.bench.errors import BenchFailedError
from fanwise.tools.bench.run.meter import (
    CpuSample,
    OwnSample,
    Watched,
    contended_seconds,
    cpu_between,
    cpus,
    sample_self,
)


def test_this_process_uses_cpu_and_memory() -> None:
    """And the more of it the longer it works."""
    watched = Watched(os.getpid())
    before = watched.cpu()
    sum(range(2_000_000))
    after = watched.cpu()
    assert 0 < cpu_between(before, after) < 60
    assert watched.rss_bytes() > 1_000_000
    assert watched.cpus() == len(os.sched_getaffinity(0))


def test_children_count() -> None:
    """A server may be several processes."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert Watched(os.getpid()).rss_bytes() > psutil.Process(os.getpid()).memory_info().rss
    finally:
        child.communicate(b"\n")


def test_one_that_has_ended() -> None:
    """Cannot be watched; one that ends while it is watched counts nothing any more."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    watched = Watched(child.pid)
    child.communicate(b"\n")
    assert watched.rss_bytes() == 0
    assert watched.cpus() == 0
    assert watched.cpu().ticks_seconds == 0
    with pytest.raises(BenchFailedError, match=f"there is no process {child.pid}"):
        Watched(child.pid)


def test_threads_that_come_and_go() -> None:
    """Then only the ticks know all of it."""
    one, other = CpuSample(1.0, 0.9, frozenset({1})), CpuSample(3.0, 2.8, frozenset({1}))
    assert cpu_between(one, other) == pytest.approx(1.9)
    assert cpu_between(one, CpuSample(3.0, 2.8, frozenset({1, 2}))) == pytest.approx(2.0)


def test_where_we_are() -> None:
    """At least one CPU, and no negative waiting for it."""
    assert cpus()
    now = sample_self()
    assert set(now.idle_seconds) == set(cpus())
    assert 0 <= contended_seconds(now, sample_self()) < 60


@pytest.mark.parametrize(
    ("idle", "waited", "contended"),
    [
        ({1: 4.0}, 3.9, 0.0),  # the CPU was ours or idle: it only took long to wake up
        ({1: 1.0}, 3.9, 3.0),  # somebody else had it for three seconds
        ({1: 1.0}, 2.0, 2.0),
        ({0: 4.5, 1: 1.0}, 3.9, 0.0),  # there was another one
        ({0: 0.5, 1: 1.0}, 3.9, 3.0),
        ({}, 2.0, 2.0),
    ],
)
def test_standing_in_line(idle: dict[int, float], waited: float, contended: float) -> None:
    """Of ten seconds, six of them ours."""
    before = OwnSample(0.0, 0.0, 0.0, dict.fromkeys(idle, 0.0))
    assert contended_seconds(before, OwnSample(10.0, 6.0, waited, idle)) == pytest.approx(contended)
