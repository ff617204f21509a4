from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fanwise.client.client import Join, Leave, Member, Presence, PresenceGap
from fanwise.client.codec import decode
from fanwise.client.errors import DialectError, NotConnectedError, PresenceError

from ..support.scripted import again, client_for, offsets, scripted, talking

pytestmark = pytest.mark.anyio

THERE: dict[str, Any] = {"clients": 3, "users": 2, "members": [{"id": "a", "info": 1}, {"id": "b"}], "truncated": False}


async def test_who_is_there() -> None:
    """Asked over the connection that publishes, and again on the next one if that is lost before the answer."""
    async with scripted() as server, client_for(server.url) as client:
        asking = asyncio.create_task(client.presence("lobby"))
        peer = await server.accept()
        request = await peer.hear()
        await peer.cut()
        peer = await server.accept()
        assert await peer.hear() == request == {"op": "presence", "channel": "lobby", "id": 1}
        await peer.say("presence", channel="lobby", id=1, **THERE)
        assert await asking == Presence("lobby", 3, 2, (Member("a", 1), Member("b")), truncated=False, request=1)


async def test_who_may_not_know() -> None:
    """A refusal, and no answer in time."""
    async with scripted() as server, client_for(server.url, acknowledge_seconds=0.05) as client:
        asking = asyncio.create_task(client.presence("lobby"))
        peer = await server.accept()
        await peer.hear()
        await peer.say("error", code="forbidden", message="no", id=1, channel="lobby")
        with pytest.raises(PresenceError, match=r"no presence of channel 'lobby': no \(forbidden\)"):
            await asking
        with pytest.raises(NotConnectedError):
            await client.presence("lobby")


async def test_who_comes_and_leaves() -> None:
    """Told in its place between the messages; after a lost connection by a gap, since nobody told."""
    seen: list[object] = []
    async with scripted() as server, client_for(server.url, on_presence=seen.append) as client:
        asking = asyncio.create_task(client.subscribe("lobby", presence=True))
        peer = await server.accept()
        assert await peer.hear() == {"op": "subscribe", "channel": "lobby", "presence": True}
        await peer.subscribed("lobby", "e", 5)
        await asking
        await peer.say("join", channel="lobby", id="a", info={"name": "A"})
        await peer.message("lobby", 6)
        await peer.say("leave", channel="lobby", id="a")
        await peer.say("presence_gap", channel="lobby", users=7)
        await peer.say("join", channel="other", id="x")  # of a channel that is not subscribed
        await peer.message("lobby", 7)
        for _ in range(2):
            seen += await offsets(client, 1)
        await peer.cut()
        peer = await server.accept()
        since = {"epoch": "e", "offset": 7}
        assert await peer.hear() == {"op": "subscribe", "channel": "lobby", "since": since, "presence": True}
        await peer.subscribed("lobby", "e", 7, recovered=True)
        await peer.message("lobby", 8)
        seen += await offsets(client, 1)
    changes = [Join("lobby", "a", {"name": "A"}), 6, Leave("lobby", "a"), PresenceGap("lobby", 7), 7]
    assert seen == [*changes, PresenceGap("lobby"), 8]


async def test_without_presence_nothing_is_told() -> None:
    """A connection that comes back is no news then."""
    seen: list[object] = []
    async with talking(on_presence=seen.append) as (server, client, first):
        await first.cut()
        peer = await again(server, 5)
        await peer.message("lobby", 6)
        await offsets(client, 1)
        assert seen == []


@pytest.mark.parametrize(
    "frame",
    [
        '{"op":"presence","channel":"a","clients":1,"users":1,"members":{},"truncated":false}',
        '{"op":"presence","channel":"a","clients":1,"users":1,"members":[7],"truncated":false}',
        '{"op":"presence","channel":"a","clients":1,"users":1,"members":[],"truncated":1}',
        '{"op":"presence","channel":"a","clients":"1","users":1,"members":[],"truncated":false}',
        '{"op":"join","channel":"a"}',
        '{"op":"leave","id":"a"}',
        '{"op":"presence_gap","channel":"a"}',
    ],
)
async def test_what_is_no_presence(frame: str) -> None:
    """Fields that are missing, or of another type."""
    with pytest.raises(DialectError):
        decode(frame)
