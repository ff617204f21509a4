"""`GET /metrics`: the counters for Prometheus, read at each scrape. Needs the extra `metrics`.

All labels come from closed sets, so that the number of series is the same for one client and for a hundred thousand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..broadcaster.node import Node
from ..broadcaster.sharing import Sharing
from ..core.codes import CodedError, ErrorCode
from ..core.counters import Histogram, name_of
from ..version import SERVER_VERSION
from .auth.guards import REFUSED_WITH_KEY, Access, operator_guards
from .problems import errors, make_router
from .process import max_descriptors, read_usage, start_seconds

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MISSING: Final = "metrics need the Prometheus client: install fanwise[metrics]"

# {name in `Counters.histograms()`: (name of the metric, help)}
HISTOGRAMS: Final = {
    "lag_messages": ("fanwise_lag_messages", "lag of each client in publications, sampled four times a second"),
    "age_seconds": ("fanwise_age_seconds", "age of the oldest publication of a write, once per delivery"),
    "ready_age_seconds": ("fanwise_ready_age_seconds", "age of the oldest publication of a write to ready clients"),
    "catching_up_age_seconds": (
        "fanwise_catching_up_age_seconds",
        "age of the oldest publication of a write to a client that is behind",
    ),
    "last_socket_seconds": ("fanwise_last_socket_seconds", "from publishing to the write to the last ready client"),
    "sweep_seconds": ("fanwise_sweep_seconds", "how long a turn's sweeps held the event loop"),
    "ping_rtt_seconds": ("fanwise_ping_rtt_seconds", "from a ping to its pong"),
    "pause_seconds": ("fanwise_pause_seconds", "how long a connection took nothing while something waited for it"),
    "catch_up_seconds": ("fanwise_catch_up_seconds", "how long a client was behind that has caught up"),
    "stretch_lag_messages": ("fanwise_stretch_lag_messages", "the furthest that a client was behind, each time it was"),
    "stretch_lag_bytes": ("fanwise_stretch_lag_bytes", "the same in payload bytes"),
    "stretch_lag_seconds": ("fanwise_stretch_lag_seconds", "the same as the age of the oldest publication not given"),
    "message_bytes": ("fanwise_message_bytes", "payload of a publication, averaged over a channel's quarter second"),
    "channel_messages_per_second": (
        "fanwise_channel_messages_per_second",
        "publications per second of a channel, once for each quarter second with some",
    ),
    "loop_lag_seconds": ("fanwise_loop_lag_seconds", "how late the event loop called a timer, five times a second"),
}
# {name in `Counts`: help}
BACKPLANE: Final = {
    "published": "publications that the engine has acknowledged",
    "refused": "publications that were not published",
    "unconfirmed": "publications that perhaps were published",
    "received": "publications that arrived",
    "skipped": "publications that arrived for channels that are not open here",
    "links": "connections that were made",
    "turns": "losses of the engine's data",
    "holes": "ranges of frames that the engine had no more",
    "deaf": "checks that have found frames which were not pushed",
}
# Not a counter: a queue that falls further behind moves from one bucket to another.
PEAK_LAG: Final = ("fanwise_peak_lag_messages", "the furthest that each queue, live or gone, has been behind")


class Collector:
    """Collects the metrics of one node, for `prometheus_client`.

    Args:
        broadcaster: The node that has the counters.
    """

    def __init__(self, broadcaster: Node) -> None:
        from prometheus_client import core  # noqa: PLC0415 - an extra

        self._broadcaster = broadcaster
        self._core = core
        self._started_at = start_seconds()

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics as they are now. O(series)."""
        yield from self._gauges()
        yield from self._process()
        yield from self._counters()
        yield from self._labelled()
        yield from self._histograms()
        if self._broadcaster.shares:
            yield from self._backplane(self._broadcaster.sharing)

    def _gauges(self) -> Iterator[Metric]:
        outline = self._broadcaster.inspect.outline()
        yield self._core.InfoMetricFamily("fanwise", "which server this is", {"version": SERVER_VERSION})
        for name, text, value in [
            ("clients", "clients that are connected", outline.clients),
            ("clients_behind", "clients that are not up to date", outline.behind),
            ("channels", "channels that are open", outline.channels),
            ("retained_bytes", "what logs take in memory, about", outline.retained_bytes),
            ("ready", "1 if new clients are taken in and looked after", int(self._broadcaster.ready)),
            ("max_clients", "clients that are taken in at most", self._broadcaster.max_clients),
            ("max_channels", "channels that may be open at most", self._broadcaster.max_channels),
        ]:
            yield self._core.GaugeMetricFamily(f"fanwise_{name}", text, value)

    def _process(self) -> Iterator[Metric]:
        """The standard names. `prometheus_client.ProcessCollector` lists descriptors, for ms with 10,000 of them."""
        usage = read_usage()
        open_fds = math.nan if usage.descriptors is None else usage.descriptors
        for name, text, value in [
            ("resident_memory_bytes", "resident memory", usage.rss_bytes),
            ("open_fds", "open file descriptors; NaN where the system does not count them", open_fds),
            ("max_fds", "file descriptors that may be open", max_descriptors()),
            ("start_time_seconds", "start of the process, since 1970; NaN outside of Linux", self._started_at),
        ]:
            yield self._core.GaugeMetricFamily(f"process_{name}", text, value)
        yield self._core.CounterMetricFamily("process_cpu_seconds", "CPU time, user and system", usage.cpu_seconds)

    def _counters(self) -> Iterator[Metric]:
        tally = self._broadcaster.tally
        for name, text, value in [
            ("connections", "clients that were taken in", tally.connections),
            ("publications", "publications that were appended to a log", tally.publications),
            ("deliveries", "publications given to a client's socket or transport", tally.deliveries),
            ("delivered_bytes", "their bytes on the wire", tally.delivered_bytes),
            ("compressions", "messages compressed, once per publication and dialect", tally.compressions),
            ("compressed_bytes", "bytes of those messages before that", tally.compressed_bytes),
            ("saved_bytes", "bytes that compressed messages have less", tally.saved_bytes),
        ]:
            yield self._core.CounterMetricFamily(f"fanwise_{name}", text, value)

    def _labelled(self) -> Iterator[Metric]:
        tally = self._broadcaster.tally
        dropped = self._core.CounterMetricFamily(
            "fanwise_dropped", "publications that clients were not given, by cause", labels=["cause"]
        )
        for cause, count in tally.dropped.items():
            dropped.add_metric([cause], count)
        gaps = self._core.CounterMetricFamily("fanwise_gaps", "gaps that clients were told of", labels=["reason"])
        for reason, count in tally.gaps.items():
            gaps.add_metric([reason.value], count)
        closed = self._core.CounterMetricFamily("fanwise_closed", "connections that ended", labels=["reason", "code"])
        for ending, count in tally.closed.items():
            closed.add_metric([name_of(ending), str(ending.code)], count)
        rejected = self._core.CounterMetricFamily(
            "fanwise_rejected", "connections, requests and operations that were refused", labels=["reason"]
        )
        for code, count in tally.rejected.items():
            rejected.add_metric([code.value], count)
        outcomes = self._core.CounterMetricFamily(
            "fanwise_dropped_clients", "what became of dropped clients", labels=["outcome"]
        )
        for outcome, count in tally.dropped_clients.items():
            outcomes.add_metric([outcome], count)
        yield from (dropped, gaps, closed, rejected, outcomes)

    def _histograms(self) -> Iterator[Metric]:
        tally = self._broadcaster.tally
        for name, histogram in tally.histograms().items():
            if name in HISTOGRAMS:
                yield self._core.HistogramMetricFamily(
                    *HISTOGRAMS[name], buckets=_cumulative(histogram), sum_value=histogram.sum
                )
        peak = tally.peak_lag
        yield self._core.GaugeHistogramMetricFamily(*PEAK_LAG, buckets=_cumulative(peak), gsum_value=peak.sum)

    def _backplane(self, sharing: Sharing) -> Iterator[Metric]:
        standing, counts = sharing.standing(), sharing.counts
        for name, text, value in [
            ("up", "1 if the engine takes publications", int(standing.up)),
            ("behind_frames", "frames that the engine has and this process has not applied", standing.behind),
        ]:
            yield self._core.GaugeMetricFamily(f"fanwise_backplane_{name}", text, value)
        for name, text in BACKPLANE.items():
            yield self._core.CounterMetricFamily(f"fanwise_backplane_{name}", text, getattr(counts, name))
        for name, text, histogram in [
            ("publish_seconds", "from handing a publication in to its position", counts.publish),
            ("delay_seconds", "from the engine's clock to the arrival of a publication", counts.delay),
        ]:
            yield self._core.HistogramMetricFamily(
                f"fanwise_backplane_{name}", text, buckets=_cumulative(histogram), sum_value=histogram.sum
            )


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    """Returns (upper bound, values up to it) for each bucket, the last one without a bound."""
    bounds = [repr(float(bound)) for bound in histogram.bounds]
    return list(zip([*bounds, "+Inf"], accumulate(histogram.counts), strict=True))


Everywhere: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
"""Returns what has a `collect`, as registries do, with the metrics of all workers of the host."""


def metrics_routes(broadcaster: Node, access: Access, everywhere: Everywhere | None = None) -> APIRouter:
    """`GET /metrics`. `everywhere`: where there are other workers."""
    router = make_router(broadcaster.tally.reject)
    render = _renderer(broadcaster)

    async def metrics(request: Request) -> Response:
        """Exposes the metrics of this process, in the text format of Prometheus or OpenMetrics, as Accept asks.

        Behind a backplane those of all workers of the host, with the label `worker`.
        """
        if render is None:
            raise CodedError(ErrorCode.NO_METRICS, MISSING)
        registry = None if everywhere is None else await everywhere()
        body, media_type = render(request.headers.get("accept", ""), registry)
        return Response(body, headers={"Content-Type": media_type})

    router.add_api_route(
        "/metrics",
        metrics,
        dependencies=operator_guards(access),
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **errors(*REFUSED_WITH_KEY, ErrorCode.NO_METRICS),
        },
    )
    return router


def _renderer(broadcaster: Node) -> Callable[[str, Any], tuple[bytes, str]] | None:
    """Returns a function of the Accept header and of what is exposed, by default one node.

    None without the extra, whose import holds the loop for 20 ms.
    """
    try:
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an extra
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    registry = CollectorRegistry(auto_describe=False)
    collector: Any = Collector(broadcaster)  # `register` is typed for a base class without content
    registry.register(collector)

    def render(accept: str, given: Any) -> tuple[bytes, str]:
        encode, media_type = choose_encoder(accept)
        return encode(given or registry), media_type

    return render
