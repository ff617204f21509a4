from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fanwise.broadcaster.node import Node
from fanwise.broadcaster.survey import own_card
from fanwise.routes.fleet.samples import key_of, own_samples, read_samples
from fanwise.routes.metrics import Collector

from ...support.patience import impatient
from .conftest import Workers

pytestmark = pytest.mark.anyio


def test_samples_are_read_as_they_were_written() -> None:
    """All of them, with their labels; also those that are no number."""
    collector = Collector(Node())
    read = read_samples(own_samples(collector))
    samples = {key_of(sample): sample.value for family in collector.collect() for sample in family.samples}
    assert read.keys() == samples.keys()
    assert read["fanwise_gaps_total|reason=slow"] == 0
    assert read["fanwise_max_clients"] == 100_000
    assert math.isnan(read_samples(b"a nan")["a"])


@pytest.mark.parametrize("text", [b"", b"a", b"a b", b"a 1\n", b"\xff 1", b"a 1\n" * 5000 + b"a 1"])
def test_what_is_no_sample_is_refused(text: bytes) -> None:
    """As a whole."""
    with pytest.raises(ValueError, match=r".*"):
        read_samples(text)


async def test_one_scrape_has_all_workers_of_the_host(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sample once for each, with the label `worker`; those that are silent are counted."""
    (one, two), (here, there) = workers.names, workers.lives
    await workers.nodes[1].publish("x", "y")
    async with await there.talk():
        for live in (here, there):
            answer = await live.request("GET", "/metrics")
            families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
            clients = {sample.labels["worker"]: sample.value for sample in families["fanwise_clients"].samples}
            assert clients == {one: 0, two: 1}
            gaps = {(sample.labels["reason"], sample.labels["worker"]) for sample in families["fanwise_gaps"].samples}
            assert {("slow", one), ("slow", two)} <= gaps
            assert {sample.labels["worker"] for sample in families["fanwise_info"].samples} == {one, two}
            assert [families[name].samples[0].value for name in ("fanwise_workers", "fanwise_workers_silent")] == [2, 0]
        impatient(monkeypatch)
        workers.engine.room.deaf.add(two)
        text = (await here.request("GET", "/metrics")).body.decode()
        assert "fanwise_workers_silent 1.0" in text
        assert two not in text


async def test_workers_of_other_hosts_are_not_scraped(workers: Workers) -> None:
    """They are asked by whoever scrapes their host; the lists have them."""
    _, two = workers.names
    workers.nodes[1].survey._card = card = own_card("elsewhere")
    workers.nodes[1].survey._fleet.announce(card.to_json())
    answer = await workers.lives[0].request("GET", "/metrics")
    assert b"fanwise_workers 1.0" in answer.body
    assert two.encode() not in answer.body
    told = (await workers.lives[0].request("GET", "/clients")).json
    assert sorted(worker["host"] for worker in told["workers"]) == sorted(["elsewhere", own_card().host])
