from __future__ import annotations

import asyncio

import pytest

from fanwise.client.client import Position, State
from fanwise.client.errors import PublishError, UnconfirmedError

from ..support.scripted import client_for, publishing, scripted

pytestmark = pytest.mark.anyio


async def test_many_publishes_in_flight() -> None:
    """They go out in order, and each gets its own answer, whatever the order of the answers."""
    async with scripted() as server, client_for(server.url) as client:
        tasks = [asyncio.create_task(client.publish("lobby", number)) for number in range(5)]
        peer = await server.accept()
        requests = [await peer.hear() for _ in tasks]
        assert [request["data"] for request in requests] == [0, 1, 2, 3, 4]
        for request in reversed(requests):
            fields = {"id": request["id"], "channel": "lobby", "epoch": "e", "offset": request["data"] + 100}
            await peer.say("published", **fields)
        assert [position.offset for position in await asyncio.gather(*tasks)] == [100, 101, 102, 103, 104]
        assert client.state is State.IDLE  # nothing is subscribed, so there is one connection only
        assert len(server.requests) == 1


async def test_a_publish_that_is_refused() -> None:
    """The error carries the server's code, and the connection lives."""
    async with scripted() as server, client_for(server.url) as client:
        publication, peer = await publishing(server, client)
        request = await peer.hear()
        await peer.say("error", code="unauthorised", message="a key, please", id=request["id"], channel="lobby")
        with pytest.raises(PublishError, match=r"a key, please \(unauthorised\)") as caught:
            await publication
        assert (caught.value.code, caught.value.channel) == ("unauthorised", "lobby")
        second = asyncio.create_task(client.publish("lobby", "y"))
        request = await peer.hear()
        await peer.say("published", id=request["id"], channel="lobby", epoch="e", offset=1)
        assert await second == Position("e", 1)


async def test_what_cannot_be_published_is_not_sent() -> None:
    """More than the server takes, and what is no JSON."""
    async with scripted() as server, client_for(server.url) as client:
        for data, code in (("x" * 65_537, "too_big"), (object(), "bad_json"), (b"x" * 65_537, "too_big")):
            with pytest.raises(PublishError) as caught:
                await client.publish("lobby", data)
            assert caught.value.code == code
        publication = asyncio.create_task(client.publish("lobby", "x" * 65_536))
        peer = await server.accept()
        assert len((await peer.hear())["data"]) == 65_536
        publication.cancel()


async def test_a_publish_whose_answer_is_lost() -> None:
    """It may or may not have been published, and that is what the error says. The next one goes on a new connection."""
    async with scripted() as server, client_for(server.url) as client:
        publication, peer = await publishing(server, client)
        await peer.hear()
        await peer.cut()
        with pytest.raises(UnconfirmedError, match="may or may not"):
            await publication
        second, peer = await publishing(server, client)
        request = await peer.hear()
        await peer.say("published", id=request["id"], channel="lobby", epoch="e", offset=2)
        assert await second == Position("e", 2)


async def test_a_publish_without_an_answer() -> None:
    """Likewise, and an answer that comes late is taken for no other's."""
    async with scripted() as server, client_for(server.url, acknowledge_seconds=0.2) as client:
        publication, peer = await publishing(server, client)
        late = await peer.hear()
        with pytest.raises(UnconfirmedError, match=r"no answer within 0.2 seconds"):
            await publication
        second = asyncio.create_task(client.publish("lobby", "y"))
        request = await peer.hear()
        await peer.say("published", id=late["id"], channel="lobby", epoch="e", offset=1)
        await peer.say("published", id=request["id"], channel="lobby", epoch="e", offset=2)
        assert await second == Position("e", 2)
