"""The garbage collector and the sweeps: what `transport.collector` is for."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.transport.collector import tune_gc

from .measuring.fixture import SteadyFixture
from .ready_channel import Scene

SWEEPS = 3000
OBJECTS_PER_CLIENT = 100  # what the collector would walk for a connection: about as many as uvicorn's and ours


@pytest.fixture
def _gc_as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.enable()
    gc.set_threshold(*before)


def p999_seconds(scene: Scene, sweeps: int) -> float:
    """The 99.9th percentile of the time from append to the last write, with the connections' own garbage."""
    took = []
    for _ in range(sweeps):
        start = time.perf_counter()
        scene.append(1)
        scene.sweep()
        took.append(time.perf_counter() - start)
    return sorted(took)[int(len(took) * 0.999)]


@pytest.mark.usefixtures("_gc_as_it_was")
@pytest.mark.parametrize("collector", ["off", "tuned", "as it comes"])
def test_sweeps_beside_the_collector(
    benchmark: BenchmarkFixture, descriptors: Callable[[int], list[int]], collector: str
) -> None:
    """Guards the thresholds: `p999_us` with the tuned collector is about that without one; the twin is Python's own."""
    clients, sweeps = (10_000, SWEEPS) if benchmark.enabled else (100, 10)
    benchmark.group = "collector"
    if isinstance(benchmark, SteadyFixture):
        benchmark.leave_out("what the collector does to the slowest sweep is a time")
    scene = Scene(descriptors(clients))
    if collector == "off":
        gc.disable()
    elif collector == "tuned":
        tune_gc()
    connections: list[list[list[None]]] = [
        [[] for _ in range(OBJECTS_PER_CLIENT)] for _ in range(clients)
    ]  # came after the start: not frozen
    benchmark.extra_info["p999_us"] = round(1e6 * p999_seconds(scene, sweeps), 1)
    benchmark.pedantic(scene.sweep, setup=lambda: scene.append(1), rounds=10)
    del connections
    scene.close()
