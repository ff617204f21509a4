from __future__ import annotations

import asyncio

import pytest

from fanwise.client.client import Gap
from fanwise.client.errors import RefusedError, SubscribeError

from ..support.scripted import client_for, offsets, scripted, subscribed

pytestmark = pytest.mark.anyio


async def test_a_token_that_cannot_be_fetched_again() -> None:
    """A refusal is final: nobody can come with another."""
    async with scripted() as server, client_for(server.url, token="t") as client:
        server.refusals.append((401, {}, "expired"))
        with pytest.raises(RefusedError, match="with status 401"):
            await client.subscribe("lobby")


async def test_a_refusal_that_no_token_changes() -> None:
    """Status 403 is about the user."""
    async with scripted() as server, client_for(server.url, token=lambda: "t") as client:
        server.refusals.append((403, {}, "no"))
        with pytest.raises(RefusedError, match="with status 403"):
            await client.subscribe("lobby")


async def test_what_is_not_about_the_token_is_handed_on() -> None:
    """Messages, gaps, and errors that name a channel."""
    gaps: list[Gap] = []
    async with scripted() as server, client_for(server.url, token=lambda: "t", on_gap=gaps.append) as client:
        peer = await subscribed(server, client)
        asking = asyncio.create_task(client.subscribe("secret"))
        await peer.hear()
        await peer.say("error", code="forbidden", message="no right", channel="secret")
        with pytest.raises(SubscribeError, match="no right"):
            await asking
        await peer.message("lobby", 7)
        assert await offsets(client, 1) == [7]
        assert gaps == [Gap("lobby", "e", 6, 6, "unknown")]
