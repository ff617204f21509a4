from __future__ import annotations

import orjson
import pytest

from fanwise.routes.fleet import figures
from fanwise.routes.fleet.figures import FleetCollector
from fanwise.routes.stats import Lists, Stats, Summary

from ...support.live import until
from ...support.patience import impatient
from .conftest import Workers

pytestmark = pytest.mark.anyio


async def test_counters_are_added(workers: Workers) -> None:
    """On any worker: each publication once, clients and deliveries of all, and a line for each worker."""
    (one, two), (here, there) = workers.names, workers.lives
    async with await here.talk() as a, await there.talk() as b:
        for talk in (a, b):
            await talk.ask(op="subscribe", channel="all")
        for node in workers.nodes:
            await node.publish("all", "x")
        for talk in (a, b):
            assert [(await talk.hear())["data"] for _ in range(2)] == ["x", "x"]
        for live in (here, there):
            told = (await live.request("GET", "/stats?scope=all")).json
            Stats.model_validate(told)
            assert (told["now"]["clients"], told["now"]["channels"], told["silent"]) == (2, 2, [])
            totals = told["totals"]
            assert (totals["publications"], totals["deliveries"], totals["connections"]) == (2, 4, 2)
            assert sum(told["histograms"]["age_seconds"]["counts"]) == 4
            assert {client["worker"] for client in told["clients"]} == {one, two}
            (channel,) = told["channels"]
            assert (channel["clients"], channel["head"], channel["deliveries"]) == (2, 2, 4)
            assert channel["workers"] == sorted([one, two])
            assert [(each["worker"], each["clients"], each["publications"]) for each in told["workers"]] == [
                (name, 1, 1) for name in sorted([one, two])
            ]
            assert told["state"]["ready"]
            own = (await live.request("GET", "/stats")).json
            assert ("workers" in own, own["now"]["clients"]) == (False, 1)


async def test_watchers_see_all_workers(workers: Workers) -> None:
    """Summaries and lists, while somebody watches; nothing is asked otherwise."""
    here = workers.lives[0]
    async with await workers.lives[1].talk() as client, await here.talk(path="/live") as watcher:
        await client.ask(op="subscribe", channel="all")
        for channel in ("stats", "lists"):
            await watcher.say(op="subscribe", channel=channel)
        heard: dict[str, dict[str, object]] = {}
        while len(heard) < 2:
            message = await watcher.hear()
            if message["op"] == "message":
                heard[message["channel"]] = message["data"]
        Summary.model_validate(heard["stats"])
        Lists.model_validate(heard["lists"])
        workers_told = heard["stats"]["workers"]
        assert isinstance(workers_told, list)
        assert sorted(one["worker"] for one in workers_told) == sorted(workers.names)


async def test_a_worker_that_misses_a_question_still_counts(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it has said before, for ten seconds: counters do not go down meanwhile."""
    one, two = workers.names
    collector = FleetCollector(lambda: workers.nodes[0].survey)
    await workers.nodes[1].publish("x", "y")
    before = await collector.summary()
    assert before["totals"]["publications"] == 1
    impatient(monkeypatch)
    workers.engine.room.deaf.add(two)
    during = await collector.summary()
    assert (during["totals"]["publications"], during["silent"]) == (1, [two])
    assert [each["worker"] for each in during["workers"]] == sorted([one, two])
    assert abs((during["at"] - during["uptime_seconds"]) - (before["at"] - before["uptime_seconds"])) < 0.5
    monkeypatch.setattr(figures, "KEPT_SECONDS", 0.0)
    after = await collector.summary()
    assert (after["totals"]["publications"], [each["worker"] for each in after["workers"]]) == (0, [one])


async def test_an_answer_that_is_none_makes_its_worker_silent(workers: Workers) -> None:
    """Whatever it says: its document is checked as a whole."""
    _, two = workers.names
    survey, right = workers.nodes[0].survey, workers.nodes[1].answers["summary"]
    document = orjson.loads(await right({}, 1000))
    collector = FleetCollector(lambda: survey)
    for wrong in (
        b"",
        b"[]",
        orjson.dumps({**document, "version": 2}),
        orjson.dumps({**document, "published": "7"}),
        orjson.dumps({**document, "totals": {}}),
    ):

        async def answer(*_: object, told: bytes = wrong) -> bytes:
            return told

        workers.nodes[1].answers["summary"] = answer
        assert (await collector.summary())["silent"] == [two]
    document["histograms"]["age_seconds"]["counts"] = [1]
    document["dropped"]["invented"] = 5

    async def strange(*_: object) -> bytes:
        return orjson.dumps(document)

    workers.nodes[1].answers["summary"] = strange
    told = await collector.summary()
    assert told["silent"] == []
    assert "invented" not in told["dropped"]
    assert sum(told["histograms"]["age_seconds"]["counts"]) == 0


async def test_a_worker_that_has_gone_is_not_missed(workers: Workers) -> None:
    """It has taken its card back: the others answer at once."""
    one, two = workers.names
    collector = FleetCollector(lambda: workers.nodes[0].survey)
    await workers.nodes[1].publish("x", "y")
    await collector.lists()
    assert (await collector.stats())["totals"]["publications"] == 1
    workers.lives[1].server.should_exit = True
    await until(lambda: two not in workers.engine.room.listed())
    told = await collector.stats()
    assert ([each["worker"] for each in told["workers"]], told["silent"]) == ([one], [])
    assert told["totals"]["publications"] == 0
