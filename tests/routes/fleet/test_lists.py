from __future__ import annotations

import pytest

from fanwise.core.codes import CodedError
from fanwise.routes.fleet.lists import Desk, FleetLists
from fanwise.routes.fleet.models import FleetChannels, FleetClients

from ...support.live import until
from ...support.patience import impatient
from .conftest import Workers

pytestmark = pytest.mark.anyio


async def test_clients_of_all_are_listed_and_can_be_closed(workers: Workers) -> None:
    """On any worker: those furthest behind first, each with its worker, which its id begins with."""
    (one, two), (here, there) = workers.names, workers.lives
    async with await here.talk() as a, await there.talk() as b:
        stuck = await there.raw("/ws?channel=a", receive_buffer=4096)
        await b.ask(op="subscribe", channel="b")
        await until(lambda: len(workers.nodes[1]) == 2)
        for _ in range(100):
            await workers.nodes[0].publish("a", b"x" * 60_000)
        await until(lambda: any(client.lag for client in workers.nodes[1].statistics().clients))
        for live in (here, there):
            answer = (await live.request("GET", "/clients")).json
            FleetClients.model_validate(answer, strict=True)
            assert next(client["worker"] for client in answer["clients"]) == two
            assert {(client["worker"], client["id"]) for client in answer["clients"]} >= {
                (one, a.welcome["client"]),
                (two, b.welcome["client"]),
            }
            assert (answer["total"], len(answer["clients"]), answer["silent"]) == (3, 3, [])
            assert [worker["worker"] for worker in answer["workers"]] == sorted([one, two])
        assert len((await here.request("GET", "/clients?limit=2")).json["clients"]) == 2
        assert (await here.request("GET", "/clients?channel=b")).json["total"] == 1
        own = (await here.request("GET", "/clients?scope=worker")).json
        assert (own["total"], "workers" in own) == (1, False)
        path = f"/clients/{b.welcome['client']}"
        assert path.startswith(f"/clients/{two}-")
        assert (await here.request("DELETE", path)).status == 204
        for live in (here, there):
            assert (await live.request("DELETE", path)).code == "no_client"
        closed = (await here.request("GET", "/clients")).json["closed"]
        assert (closed[0]["id"], closed[0]["worker"], closed[0]["reason"]) == (b.welcome["client"], two, "operator")
        stuck.close()


async def test_nobody_has_such_a_client(workers: Workers) -> None:
    """A worker that is not listed, or an id that is none."""
    for client in ("0000000a-0123456789abcdef", "0123456789abcdef", "x" * 5000, "%2e%2e-1"):
        assert (await workers.lives[0].request("DELETE", f"/clients/{client}")).code == "no_client"


async def test_a_worker_that_does_not_answer_is_named(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clients are missing, and nobody knows whether it has closed one; channels of the others are listed."""
    (one, two), (here, there) = workers.names, workers.lives
    async with await there.talk() as b:
        await here.request("GET", "/clients")
        impatient(monkeypatch)
        workers.engine.room.deaf.add(two)
        for path in ("/clients", "/channels"):
            answer = (await here.request("GET", path)).json
            assert (answer["total"], answer["silent"]) == (0, [two])
            assert [worker["worker"] for worker in answer["workers"]] == sorted([one, two])
        refused = await here.request("DELETE", f"/clients/{b.welcome['client']}")
        assert (refused.status, refused.code) == (504, "unconfirmed")
        assert two in refused.json["error"]["message"]
        workers.engine.stall()
        assert (await here.request("GET", "/clients")).json["silent"] == [two]
        workers.engine.stall(stalled=False)


async def test_channels_of_all_are_one(workers: Workers) -> None:
    """Clients are added; who has it open is named. A channel that is elsewhere only is listed, too."""
    (one, two), (here, there) = workers.names, workers.lives
    async with await here.talk() as a, await there.talk() as b, await there.talk() as c:
        for talk in (a, b, c):
            await talk.ask(op="subscribe", channel="all")
        await b.ask(op="subscribe", channel="there")
        await workers.nodes[0].publish("all", "x")
        await until(lambda: all(node.statistics().channels[0].head == 1 for node in workers.nodes))
        answer = (await here.request("GET", "/channels")).json
        FleetChannels.model_validate(answer, strict=True)
        (everywhere, elsewhere) = answer["channels"]
        assert (everywhere["name"], everywhere["clients"], everywhere["head"]) == ("all", 3, 1)
        assert (everywhere["retained"], everywhere["workers"]) == (1, sorted([one, two]))
        assert (elsewhere["name"], elsewhere["clients"], elsewhere["workers"]) == ("there", 1, [two])
        assert answer["total"] == 2
        limited = (await here.request("GET", "/channels?limit=1&prefix=a")).json
        assert ([channel["name"] for channel in limited["channels"]], limited["total"]) == (["all"], 1)
        longer = (await here.request("GET", f"/channels?prefix={'x' * 5000}")).json  # than any name
        assert (longer["channels"], longer["total"]) == ([], 0)


async def test_what_is_held_is_bounded(workers: Workers) -> None:
    """Eight lists of one kind wait, are made or are sent; their bytes count until they are gone."""
    counted: list[int] = []
    lists = FleetLists(lambda: workers.nodes[0].survey, counted.append)
    held = [await lists.channels(prefix="", limit=10) for _ in range(8)]
    for parts in held:
        await anext(parts)
    with pytest.raises(CodedError, match="all 8 places"):
        await lists.channels(prefix="", limit=10)
    await lists.clients(channel=None, limit=10)
    for parts in held:
        await parts.aclose()
    await lists.channels(prefix="", limit=10)
    desk = Desk(counted.append)
    assert b"".join([part async for part in desk.send(b"[", [b"1", b"22"], b"]")]) == b"[1,22]"
    assert (sum(counted), counted[-1]) == (0, -(3 + 2 * 64))
