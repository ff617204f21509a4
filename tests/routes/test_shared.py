"""Two servers with the ready-made routes and one Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fanwise import Broadcaster

from ..support.engines import RedisServer, redis_server
from ..support.live import app_of, running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_every_way_in_leads_to_every_server(server: RedisServer, *, fast: bool) -> None:
    """Plain and JSON WebSockets, POST and event streams; a client goes on elsewhere from its position."""
    await server.ready()
    one, two = (Broadcaster(backplane=server.url) for _ in range(2))
    async with running(app_of(one.router), fast=fast) as here, running(app_of(two.router), fast=fast) as there:
        async with await here.connect() as plain, await there.talk() as talk:
            subscribed = await talk.ask(op="subscribe", channel="lobby")
            epoch, offset = subscribed["epoch"], subscribed["offset"]
            await plain.send("from a plain client")
            assert await plain.recv() == "Message: from a plain client"
            assert (await talk.hear())["data"] == "Message: from a plain client"
            await talk.say(op="publish", channel="lobby", data="from JSON", id=7)
            heard = {one["op"]: one for one in (await talk.hear(), await talk.hear())}  # in either order
            assert (heard["published"]["offset"], heard["published"]["id"]) == (offset + 2, 7)
            assert heard["message"]["data"] == "from JSON"
            assert await plain.recv() == "from JSON"
            answer = await here.request("POST", "/publish/lobby", b"from POST", headers={"content-type": "text/plain"})
            assert (answer.status, answer.json["offset"]) == (200, offset + 3)
            assert await plain.recv() == "from POST"
        async with here.events(f"/sse/lobby?since={epoch}:{offset + 1}") as events:
            data: list[str] = []
            while len(data) < 2:
                event = await events.next()
                assert event is not None
                if event.name == "message":
                    data.append(event.data)
            assert data == ["from JSON", "from POST"]


async def test_all_workers_are_one_picture(server: RedisServer) -> None:
    """Through Redis: lists, figures and metrics of any worker have the others, and any closes a client of any."""
    await server.ready()
    workers = [Broadcaster(backplane=server.url, backplane_prefix="fleet") for _ in range(2)]
    async with running(app_of(workers[0].router)) as here, running(app_of(workers[1].router)) as there:  # noqa: SIM117
        async with await here.talk() as one, await there.talk() as two:
            await two.ask(op="subscribe", channel="lobby")
            names = sorted(talk.welcome["client"].partition("-")[0] for talk in (one, two))
            clients: dict[str, Any] = {}
            while [worker["worker"] for worker in clients.get("workers", ())] != names:  # until each has a card
                clients = (await here.request("GET", "/clients")).json
            assert (sorted(client["worker"] for client in clients["clients"]), clients["silent"]) == (names, [])
            (channel,) = (await here.request("GET", "/channels")).json["channels"]
            assert (channel["name"], channel["clients"]) == ("lobby", 1)
            told = (await there.request("GET", "/stats?scope=all")).json
            assert (told["now"]["clients"], [worker["worker"] for worker in told["workers"]]) == (2, names)
            metrics = (await here.request("GET", "/metrics")).body.decode()
            assert all(f'fanwise_clients{{worker="{name}"}} 1.0' in metrics for name in names)
            assert (await here.request("DELETE", f"/clients/{two.welcome['client']}")).status == 204
            clients = (await there.request("GET", "/clients")).json
            assert (clients["total"], clients["closed"][0]["id"]) == (1, two.welcome["client"])
