from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanwise.broadcaster.node import Node
from fanwise.routes.fleet.answers import answers_of
from fanwise.routes.fleet.past import FleetPast, PastHead, add_points
from fanwise.routes.fleet.rows import Part
from fanwise.routes.past import Past, PastPoint, PastRing, slot_of
from fanwise.routes.stats import StatsCollector

from ...support.patience import impatient
from ..test_past import NOON, Clock, pass_time, ring_of
from .conftest import Workers

pytestmark = pytest.mark.anyio


def point(slot: int, **fields: Any) -> PastPoint:
    counted = {"publications": 1, "deliveries": 10, "delivered_bytes": 100, "dropped": {"gap_slow": 2}, "closed": {}}
    stands = {"clients": 3, "retained_bytes": 5, "rss_bytes": 7, "loop_lag_seconds": 0.1}
    about = {"at": NOON + 12 * slot + 0.5, "seconds": 12.0, "histograms": {"lag_messages": [(0, 4), (3, 1)]}}
    return PastPoint.model_validate({**about, **stands, **counted, **fields})


def part(worker: str, *points: PastPoint, total: int | None = None) -> Part[PastHead, PastPoint]:
    """The newest point is first."""
    return Part(worker, PastHead(bounds={}, total=len(points) if total is None else total), list(points))


async def test_points_of_one_time_are_added() -> None:
    """Each with the number of its workers: one that came later has none for the time before."""
    one = part("a", point(2), point(1))
    late = {"loop_lag_seconds": 0.4, "histograms": {"lag_messages": [(3, 2)]}, "dropped": {"closed_slow": 1}}
    other = part("b", point(2, **late))
    first, second = map(orjson.loads, await add_points([one, other]))
    assert (first["workers"], first["clients"], first["histograms"]) == (1, 3, {"lag_messages": [[0, 4], [3, 1]]})
    assert (second["workers"], second["clients"], second["publications"], second["deliveries"]) == (2, 6, 2, 20)
    assert (second["loop_lag_seconds"], second["retained_bytes"], second["rss_bytes"]) == (0.4, 10, 14)
    assert second["dropped"] == {"gap_slow": 2, "closed_slow": 1}
    assert second["histograms"] == {"lag_messages": [[0, 4], [3, 3]]}


async def test_no_sum_lacks_a_worker_that_had_no_room() -> None:
    """Older than what did not fit into an answer, nothing is said."""
    points = await add_points([part("a", point(3), point(2), point(1)), part("b", point(3), point(2), total=9)])
    assert [orjson.loads(one)["workers"] for one in points] == [2, 2]


async def test_an_answer_has_the_newest_that_fit() -> None:
    """And says how many there are."""
    async with Node() as node:
        with ring_of(node) as (ring, clock):
            pass_time(ring, clock, seconds=60)
            answers = answers_of(node, StatsCollector(node), published=lambda: 0, past=ring)
            head, *lines = (await answers["past"]({}, 1500)).split(b"\n")
            assert orjson.loads(head)["total"] == 5
            assert 0 < len(lines) < 5
            assert orjson.loads(lines[0])["at"] == clock.now


async def test_the_last_hour_of_all_workers(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """On any of them, each publication once. One that is silent is named, and is in no sum."""
    (one, two), (here, there) = workers.names, workers.lives
    clock = Clock()
    for ring in rings(workers):
        ring._points.clear()
        ring._clock, ring._slot = clock, slot_of(clock())
    async with await there.talk() as talk, await here.talk() as other:
        for client in (talk, other):
            await client.ask(op="subscribe", channel="all")
        await workers.nodes[0].publish("all", "x")
        await talk.hear()
        await other.hear()
        clock.now += 12
        for ring in rings(workers):
            ring.look()  # as the feed does, which perhaps came first
        for live in (here, there):
            told = (await live.request("GET", "/stats/past?scope=all")).json
            FleetPast.model_validate(told)
            assert {worker["worker"] for worker in told["workers"]} == {one, two}
            (found,) = told["points"]
            assert (found["workers"], found["publications"], found["deliveries"]) == (2, 1, 2)
            own = (await live.request("GET", "/stats/past")).json
            Past.model_validate(own)
            assert [each["deliveries"] for each in own["points"]] == [1]
        impatient(monkeypatch)
        workers.engine.room.deaf.add(two)
        told = (await here.request("GET", "/stats/past?scope=all")).json
        assert (told["silent"], [each["workers"] for each in told["points"]]) == ([two], [1])


def rings(workers: Workers) -> list[PastRing]:
    """The rings of both workers, out of what answers for them."""
    return [node.answers["past"].args[0] for node in workers.nodes]  # type: ignore[attr-defined]
