from __future__ import annotations

import asyncio

import pytest

from fanwise.client.batch import IN_FLIGHT
from fanwise.client.errors import BatchError, PublishError, UnconfirmedError
from fanwise.core.publication import Position

from ..support.scripted import Peer, client_for, scripted

pytestmark = pytest.mark.anyio


async def answer(peer: Peer, request: dict[str, object]) -> None:
    await peer.say("published", id=request["id"], channel="lobby", epoch="e", offset=request["data"])


async def test_many_messages_in_one_call() -> None:
    """In their order, with their tags; a bounded number waits for answers."""
    async with scripted() as server, client_for(server.url) as client:
        sending = asyncio.create_task(client.publish_many("lobby", range(IN_FLIGHT + 10), tags={"a": "b"}))
        peer = await server.accept()
        requests = [await peer.hear() for _ in range(IN_FLIGHT)]
        assert [request["data"] for request in requests] == [*range(IN_FLIGHT)]
        assert requests[0]["tags"] == {"a": "b"}
        hearing = asyncio.create_task(peer.hear())
        await asyncio.sleep(0)
        assert not hearing.done()
        for request in requests:
            await answer(peer, request)
        await answer(peer, await hearing)
        for _ in range(9):
            await answer(peer, await peer.hear())
        assert await sending == [Position("e", offset) for offset in range(IN_FLIGHT + 10)]


async def test_messages_of_which_one_is_refused() -> None:
    """The error says what became of each that was sent."""
    async with scripted() as server, client_for(server.url) as client:
        sending = asyncio.create_task(client.publish_many("lobby", range(4)))
        peer = await server.accept()
        requests = [await peer.hear() for _ in range(4)]
        await answer(peer, requests[0])
        await peer.say("error", code="full", message="no room", id=requests[1]["id"], channel="lobby")
        await answer(peer, requests[2])
        await peer.cut()
        with pytest.raises(BatchError, match=r"message 2 \(and 1 more\): not published to channel 'lobby'") as caught:
            await sending
        first, second, third, fourth = caught.value.results
        assert (first, third) == (Position("e", 0), Position("e", 2))
        assert isinstance(second, PublishError)
        assert isinstance(fourth, UnconfirmedError)
        assert caught.value.__cause__ is second
