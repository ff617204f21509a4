from __future__ import annotations

import sys
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fanwise.app import create_app
from fanwise.backplane.counts import Counts
from fanwise.broadcaster.node import Node
from fanwise.core.counters import Counters
from fanwise.core.queue import Gap
from fanwise.core.reasons import CloseReason, GapReason
from fanwise.routes.metrics import BACKPLANE, HISTOGRAMS, PEAK_LAG, Collector
from fanwise.settings import load_settings

from ..support.live import Live, running

pytestmark = pytest.mark.anyio


async def scrape(live: Live, **headers: str) -> dict[str, float]:
    """All samples, by their names and labels."""
    answer = await live.request("GET", "/metrics", headers=headers)
    assert answer.status == 200
    families = list(text_string_to_metric_families(answer.body.decode()))
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.name + "".join(f",{name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for sample in samples
    }


async def test_what_is_counted_is_told() -> None:
    """Under a name and labels that stay: gauges, counters and histograms of a server that has done something."""
    app = create_app(load_settings())
    broadcaster: Node = app.state.broadcaster
    async with running(app) as live, await live.connect("/ws") as client:
        await client.send("x")
        await client.recv()
        broadcaster.tally.gap(Gap(1, 3, GapReason.SLOW))
        broadcaster.tally.close(CloseReason.STALLED, lag=5)
        await live.request("POST", "/publish/no%20name", b"x")
        told = await scrape(live)
        assert told["fanwise_clients"] == told["fanwise_channels"] == told["fanwise_ready"] == 1
        assert told["fanwise_publications_total"] == told["fanwise_deliveries_total"] == 1
        assert told["fanwise_delivered_bytes_total"] == len("Message: x") + 2
        assert told["fanwise_dropped_total,cause=gap_slow"] == 3
        assert told["fanwise_dropped_total,cause=closed_stalled"] == 5
        assert told["fanwise_gaps_total,reason=slow"] == 1
        assert told["fanwise_closed_total,code=4009,reason=stalled"] == 1
        assert told["fanwise_rejected_total,reason=bad_channel"] == 1
        assert told["fanwise_age_seconds_count"] == told["fanwise_age_seconds_bucket,le=+Inf"] == 1
        assert told["fanwise_last_socket_seconds_count"] == 1
        assert told["fanwise_peak_lag_messages_bucket,le=+Inf"] == 1
        assert told["process_resident_memory_bytes"] > 1e6
        assert told["process_cpu_seconds_total"] > 0
        assert 3 <= told["process_open_fds"] < told["process_max_fds"]
        assert 0 < time.time() - told["process_start_time_seconds"] < 86_400


async def test_the_number_of_series_is_constant() -> None:
    """Whatever there is and whatever has happened."""
    app = create_app(load_settings())
    broadcaster: Node = app.state.broadcaster
    async with running(app) as live:
        before = await scrape(live)
        for number in range(50):
            broadcaster.publish_nowait(f"channel-{number}", "x")
        await live.request("POST", "/publish/no%20name", b"x")
        async with await live.connect("/ws?channel=channel-1"):
            assert set(await scrape(live)) == set(before)


def test_every_count_of_the_backplane_is_told() -> None:
    """Two of them are histograms."""
    assert {*BACKPLANE, "publish", "delay"} == set(Counts.__slots__)


def test_every_histogram_is_told() -> None:
    """One that is added to the tally is not forgotten here."""
    assert {*HISTOGRAMS, "peak_lag_messages"} == set(Counters().histograms())
    families = {family.name: family for family in Collector(Node()).collect()}
    assert families[PEAK_LAG[0]].type == "gaugehistogram", "no counter: its buckets go down too"


async def test_openmetrics_where_it_is_asked_for() -> None:
    """The format is the scraper's choice."""
    async with running(create_app(load_settings())) as live:
        plain = await live.request("GET", "/metrics")
        assert plain.headers["content-type"].startswith("text/plain")
        chosen = await live.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
        assert chosen.headers["content-type"].startswith("application/openmetrics-text")
        assert chosen.body.endswith(b"# EOF\n")


async def test_metrics_ask_for_the_key() -> None:
    """If there is one: Prometheus can send it."""
    async with running(create_app(load_settings(api_key="12345678"))) as live:
        assert (await live.request("GET", "/metrics")).status == 401
        assert "fanwise_clients" in await scrape(live, Authorization="Bearer 12345678")


async def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server runs without the Prometheus client, and the answer names what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # as if it were not installed
    async with running(create_app(load_settings())) as live:
        answer = await live.request("GET", "/metrics")
        assert (answer.status, answer.code) == (503, "no_metrics")
        assert "fanwise[metrics]" in answer.json["error"]["message"]
