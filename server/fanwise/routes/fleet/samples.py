"""`GET /metrics` of all workers of a host: each sample once per worker, with the label `worker`.

A worker answers a line for each sample: its name and labels, a space, and the value. The families are those of the
worker that is scraped: a sample that this one does not know is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...broadcaster.node import Node
from ...broadcaster.survey import Card, Survey, Surveyed
from ...broadcaster.turns import SharedTurn
from ..metrics import Collector, Everywhere

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.samples import Sample

_MOST_SAMPLES: Final = 4_096  # of one worker


def own_samples(collector: Collector) -> bytes:
    """Returns the samples of this process, as `read_samples` reads them."""
    lines = [f"{key_of(sample)} {float(sample.value)!r}" for family in collector.collect() for sample in family.samples]
    return "\n".join(lines).encode()


def key_of(sample: Sample) -> str:
    """Returns the name and the labels of a sample: "fanwise_gaps_total|reason=slow"."""
    return "|".join([sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))])


def read_samples(text: bytes) -> dict[str, float]:
    """Returns {key: value}. Raises ValueError if a line is no sample, or there are too many."""
    lines = text.decode().split("\n", _MOST_SAMPLES)
    if len(lines) > _MOST_SAMPLES:
        raise ValueError(f"more than {_MOST_SAMPLES} samples")
    found = {}
    for line in lines:
        key, _, value = line.rpartition(" ")
        found[key] = float(value)
    return found


def samples_of(broadcaster: Node, workers: Surveyed) -> Everywhere | None:
    """Returns what collects the samples of all workers of this host; None without the extra `metrics`."""
    try:
        return FleetSamples(Collector(broadcaster), lambda: workers.survey).collect
    except ImportError:
        return None


class _Scraped(NamedTuple):
    """Families that were collected already, as an encoder wants them."""

    families: list[Metric]

    def collect(self) -> Iterator[Metric]:
        return iter(self.families)


class FleetSamples:
    """Collects the samples of all workers of this host.

    Args:
        collector: Collects those of this process.
        survey: Returns what asks the workers.
    """

    def __init__(self, collector: Collector, survey: Callable[[], Survey]) -> None:
        from prometheus_client import core  # noqa: PLC0415 - an extra

        self._core = core
        self._collector = collector
        self._survey = survey

    async def collect(self) -> Any:
        """Returns what has a `collect`, as registries do. Holds the loop for 1 ms at a time, and once for the text."""
        survey = self._survey()
        gathered = await survey.ask("metrics", same_host=True)
        told: dict[str, Mapping[str, float]] = {}
        turn = SharedTurn()
        for worker, answer in gathered.answers.items():
            try:
                told[worker] = read_samples(answer)
            except ValueError:
                continue
            await turn.give_way()
        families = []
        for family in self._collector.collect():
            families.append(self._labelled(family, told, gathered.workers))
            await turn.give_way()
        silent = len(gathered.workers) - len(told)
        gauge = self._core.GaugeMetricFamily
        families.append(gauge("fanwise_workers", "workers of this host", len(gathered.workers)))
        families.append(gauge("fanwise_workers_silent", "workers of this host that have not answered", silent))
        return _Scraped(families)

    def _labelled(self, family: Metric, told: Mapping[str, Mapping[str, float]], workers: Mapping[str, Card]) -> Metric:
        found = self._core.Metric(family.name, family.documentation, family.type)
        for worker, values in told.items():
            if family.type == "info":  # whose label is of one version
                found.add_sample(f"{family.name}_info", {"version": workers[worker].version, "worker": worker}, 1)
                continue
            for sample in family.samples:
                value = values.get(key_of(sample))
                if value is not None:
                    found.add_sample(sample.name, {**sample.labels, "worker": worker}, value)
        return found
