"""What it costs to be looked at: reports and scrapes of a server with 10,000 clients and 1,000 channels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.routes.metrics import Collector
from fanwise.routes.past import POINT_SECONDS, PastRing
from fanwise.routes.stats import StatsCollector

from .harness import Stage, TakesAll, stage


@pytest.fixture(scope="module")
def crowded(pytestconfig: pytest.Config) -> Iterator[Stage]:
    """Half of the clients are behind. A tenth is there where nothing is measured."""
    tenth = 10 if pytestconfig.getoption("benchmark_disable") else 1
    clients_here, channels = 10_000 // tenth, 1_000 // tenth
    with stage() as place:
        sinks = [TakesAll() for _ in range(clients_here)]
        clients = [place.enter(sink, channel=f"channel-{number % channels}") for number, sink in enumerate(sinks)]
        for sink, client in zip(sinks[::2], clients[::2], strict=True):
            sink.writable = False
            client.sink_paused()
        for number in range(channels):
            place.broadcaster.publish_nowait(f"channel-{number}", "x" * 100)
        place.loop.turn()
        assert place.broadcaster.inspect.outline().behind == clients_here // 2
        yield place


def test_summary(benchmark: BenchmarkFixture, crowded: Stage) -> None:
    """Guards that a second of the live page is O(1): it is made whether anybody looks or not."""
    benchmark.group = "being looked at, 10,000 clients, 5,000 of them behind, 1,000 channels"
    collector = StatsCollector(crowded.broadcaster)
    assert orjson.loads(benchmark(lambda: orjson.dumps(collector.summary())))["now"]["clients"] >= 1_000


def test_point(benchmark: BenchmarkFixture, crowded: Stage) -> None:
    """Guards that a point of the last hour is O(1): one is taken each twelve seconds, whether anybody looks or not."""
    benchmark.group = "being looked at, 10,000 clients, 5,000 of them behind, 1,000 channels"
    seconds = count(step=POINT_SECONDS)
    ring = PastRing(crowded.broadcaster, clock=lambda: float(next(seconds)))
    benchmark(ring.look)
    assert len(ring) > 0


def test_lists(benchmark: BenchmarkFixture, crowded: Stage) -> None:
    """Guards that finding the slowest of 5,000 and the busiest of 1,000 is a matter of milliseconds, in turns of 2."""
    benchmark.group = "being looked at, 10,000 clients, 5,000 of them behind, 1,000 channels"
    collector = StatsCollector(crowded.broadcaster)
    lists = benchmark(lambda: crowded.loop.run_until_complete(collector._make_lists()))
    assert len(lists["clients"]) == len(lists["channels"]) == 20


def test_scrape(benchmark: BenchmarkFixture, crowded: Stage) -> None:
    """Guards that a scrape is O(series), and that their number does not grow with clients or channels."""
    benchmark.group = "being looked at, 10,000 clients, 5,000 of them behind, 1,000 channels"
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(crowded.broadcaster))
    text = benchmark(lambda: generate_latest(registry))
    assert text.count(b"\n") < 1000
