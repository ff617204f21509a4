"""Two servers with the ready-made routes and one Redis."""

from __future__ import annotations

from collections.abc import Iterator

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
