from __future__ import annotations

import asyncio

import pytest

from fanwise.client.client import Gap, Position
from fanwise.client.downlink import _STRETCH
from fanwise.client.errors import NotConnectedError, SubscribeError
from fanwise.errors import ChannelNameError

from ..support.live import until
from ..support.scripted import again, client_for, flood, offsets, publishing, scripted, talking

pytestmark = pytest.mark.anyio


async def test_a_connection_lost_before_the_answer_is_asked_again() -> None:
    """The caller waits for the answer of the second one."""
    async with scripted() as server, client_for(server.url) as client:
        asking = asyncio.create_task(client.subscribe("lobby"))
        peer = await server.accept()
        await peer.hear()
        await peer.cut()
        peer = await server.accept()
        assert await peer.hear() == {"op": "subscribe", "channel": "lobby"}
        await peer.subscribed("lobby", "e", 9)
        assert await asking == Position("e", 9)


async def test_a_slow_program_brakes_the_server() -> None:
    """What waits is bounded, publishing goes on meanwhile, and nothing is lost."""
    async with talking(queue_messages=10) as (server, client, peer):
        flooding = asyncio.create_task(flood(peer, 6, 3005, 10_000))
        await until(lambda: len(client._mailbox) == 10)
        publication, up = await publishing(server, client)
        request = await up.hear()
        await up.say("published", id=request["id"], channel="lobby", epoch="e", offset=9999)
        assert await publication == Position("e", 9999)
        await until(lambda: peer.connection.transport.get_write_buffer_size() > 0)
        assert len(client._mailbox) == 10
        assert not flooding.done()
        assert await offsets(client, 3000) == list(range(6, 3006))


async def test_a_slow_program_is_braked_by_bytes() -> None:
    """Large messages wait in smaller number; one is taken whatever its size."""
    async with talking(queue_bytes=25_000) as (_, client, peer):
        flooding = asyncio.create_task(flood(peer, 6, 505, 10_000))
        await until(lambda: len(client._mailbox) == 3)
        await until(lambda: peer.connection.transport.get_write_buffer_size() > 0)
        assert len(client._mailbox) == 3
        assert await offsets(client, 500) == list(range(6, 506))
        await flooding


async def test_subscribing_from_inside_the_loop() -> None:
    """The answer stands behind messages that fill the queue, and the program does not read: it comes all the same."""
    async with talking(queue_messages=10) as (_, client, peer):
        flooding = asyncio.create_task(flood(peer, 6, 5 + 5 * _STRETCH))
        await until(lambda: len(client._mailbox) == 10)
        asking = asyncio.create_task(client.subscribe("other"))
        assert await peer.hear() == {"op": "subscribe", "channel": "other"}
        await flooding
        await peer.subscribed("other", "o", 0)
        assert await asking == Position("o", 0)
        assert await offsets(client, 5 * _STRETCH) == list(range(6, 6 + 5 * _STRETCH))


async def test_a_subscription_that_is_refused() -> None:
    """The error carries the server's code, and the channel may be tried again."""
    async with talking() as (_, client, peer):
        for _ in range(2):
            asking = asyncio.create_task(client.subscribe("other"))
            await peer.hear()
            await peer.say("error", code="too_many_channels", message="enough", channel="other")
            with pytest.raises(SubscribeError, match=r"'other': enough \(too_many_channels\)"):
                await asking
        assert list(client.positions) == ["lobby"]


async def test_a_subscription_that_cannot_be_renewed() -> None:
    """The iteration raises it, in its place, and goes on with the other channels."""
    async with talking() as (server, client, first):
        asking = asyncio.create_task(client.subscribe("other"))
        await first.hear()
        await first.subscribed("other", "o", 0)
        await asking
        await first.cut()
        peer = await again(server, 5)
        await peer.hear()
        await peer.message("lobby", 6)
        await peer.say("error", code="bad_channel", message="no longer", channel="other")
        await peer.message("lobby", 7)
        assert await offsets(client, 1) == [6]
        with pytest.raises(SubscribeError, match="'other': no longer"):
            await anext(client)
        assert await offsets(client, 1) == [7]
        assert list(client.positions) == ["lobby"]
        await peer.cut()
        await again(server, 7)


async def test_an_error_without_a_channel_is_raised_too() -> None:
    """Whatever the server complains about, somebody hears of it."""
    async with talking() as (_, client, peer):
        await peer.say("error", code="bad_json", message="what?")
        with pytest.raises(SubscribeError, match="bad_json"):
            await anext(client)


async def test_subscriptions_that_make_no_sense() -> None:
    """They are refused here, with the server's own words for it."""
    async with talking() as (_, client, _peer):
        with pytest.raises(SubscribeError, match="already_subscribed"):
            await client.subscribe("lobby")
        with pytest.raises(SubscribeError, match="not_subscribed"):
            await client.unsubscribe("other")
        with pytest.raises(ChannelNameError):
            await client.subscribe("a b")
        with pytest.raises(ChannelNameError):
            await client.publish("a b", "x")


async def test_unsubscribing() -> None:
    """Nothing of the channel comes after it, not even what waits, and later connections do not ask for it."""
    async with talking() as (server, client, first):
        asking = asyncio.create_task(client.subscribe("other"))
        await first.hear()
        await first.subscribed("other", "o", 0)
        await asking
        await first.message("lobby", 6)
        await first.message("other", 1)
        await until(lambda: len(client._mailbox) == 2)
        await client.unsubscribe("lobby")
        assert await first.hear() == {"op": "unsubscribe", "channel": "lobby"}
        await first.message("lobby", 7)
        await first.say("unsubscribed", channel="lobby")
        await first.message("other", 2)
        assert [(await anext(client)).channel for _ in range(2)] == ["other", "other"]
        await first.cut()
        peer = await server.accept()
        assert (await peer.hear())["channel"] == "other"


async def test_subscribing_again_at_once() -> None:
    """What is still on its way from before is not taken for the new stream."""
    gaps: list[Gap] = []
    async with talking(on_gap=gaps.append) as (_, client, peer):
        await client.unsubscribe("lobby")
        asking = asyncio.create_task(client.subscribe("lobby"))
        assert (await peer.hear())["op"] == "unsubscribe"
        assert (await peer.hear())["op"] == "subscribe"
        await peer.message("lobby", 6)
        await peer.say("unsubscribed", channel="lobby")
        await peer.subscribed("lobby", "e", 50)
        await peer.message("lobby", 51)
        assert await asking == Position("e", 50)
        assert await offsets(client, 1) == [51]
        assert gaps == []


async def test_subscribing_again_on_another_connection() -> None:
    """The answer that the old one still owed is not waited for."""
    async with talking() as (server, client, first):
        await client.unsubscribe("lobby")
        assert (await first.hear())["op"] == "unsubscribe"
        await first.cut()
        asking = asyncio.create_task(client.subscribe("lobby"))
        peer = await server.accept()
        assert await peer.hear() == {"op": "subscribe", "channel": "lobby"}
        await peer.subscribed("lobby", "e", 9)
        assert await asking == Position("e", 9)


async def test_giving_up_before_the_answer() -> None:
    """Whoever waits hears of it, and a refusal that comes later is not taken for news."""
    async with talking() as (_, client, peer):
        asking = asyncio.create_task(client.subscribe("other"))
        await peer.hear()
        await client.unsubscribe("other")
        with pytest.raises(SubscribeError, match="given up"):
            await asking
        assert (await peer.hear())["op"] == "unsubscribe"
        await peer.say("error", code="bad_channel", message="no", channel="other")
        await peer.say("error", code="not_subscribed", message="no", channel="other")
        await peer.message("lobby", 6)
        assert await offsets(client, 1) == [6]
        asking = asyncio.create_task(client.subscribe("other"))
        await peer.hear()
        await peer.subscribed("other", "o", 0)
        assert await asking == Position("o", 0)


async def test_a_cancelled_subscribe_subscribes_nothing() -> None:
    """The server is told so as well."""
    async with talking() as (_, client, peer):
        asking = asyncio.create_task(client.subscribe("other"))
        await peer.hear()
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert await peer.hear() == {"op": "unsubscribe", "channel": "other"}
        assert list(client.positions) == ["lobby"]


async def test_a_subscribe_without_an_answer() -> None:
    """It ends in time, and the channel is not subscribed."""
    async with scripted() as server, client_for(server.url, acknowledge_seconds=0.05) as client:
        with pytest.raises(NotConnectedError, match=r"no answer from ws:.* within 0.05 seconds"):
            await client.subscribe("lobby")
        assert client._downlink.tracks == {}


async def test_closing_with_a_full_queue() -> None:
    """The closing handshake goes through, although nobody read."""
    async with talking(queue_messages=10, close_seconds=60) as (_, client, peer):
        flooding = asyncio.create_task(flood(peer, 6, 2005, 10_000))
        await until(lambda: len(client._mailbox) == 10)
        await client.close()
        assert peer.connection.protocol.close_code == 1000
        await asyncio.wait([flooding])
        assert flooding.exception() is not None


async def test_cancelling_the_iteration_loses_nothing() -> None:
    """As `asyncio.timeout` around it does."""
    async with talking() as (_, client, peer):
        for _ in range(5):
            reading = asyncio.create_task(anext(client))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        await peer.message("lobby", 6)
        await peer.message("lobby", 7)
        assert await offsets(client, 2) == [6, 7]
