"""Options of channels on real sockets: what they say about queues, about history, and about peers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from websockets.exceptions import InvalidStatus

from fanwise import Broadcaster, ChannelOptions, CloseReason, NoChannelError
from fanwise.backplane.memory import MemoryEngine
from fanwise.routes import Access
from fanwise.routes.router import build_door, build_router

from ..support.live import Live, Talk, app_of, running, until

pytestmark = pytest.mark.anyio

KEY = {"Authorization": "Bearer key-of-this-test"}
CHANNELS = {
    "cursor.*": ChannelOptions(overflow="latest", queue_messages=4, history_messages=0),
    "chat.*": ChannelOptions(queue_messages=2000, queue_bytes=1 << 25),
    "small": ChannelOptions(max_subscribers=2),
    "kept.*": ChannelOptions(create="operators"),
    "paced.*": ChannelOptions(publishes_per_second=20, template="<{text}>"),
    "lobby": ChannelOptions(),
    "*": ChannelOptions(create="nobody"),
}


@asynccontextmanager
async def serving(*, fast: bool = True, **settings: Any) -> AsyncIterator[tuple[Live, Broadcaster]]:
    access = Access(api_key="key-of-this-test")
    broadcaster = Broadcaster(channels=CHANNELS, trim_heap=False, access=access, memory_bytes=None, **settings)
    router = build_router(broadcaster, access=access, lifespan=broadcaster.lifespan)
    door = build_door(broadcaster, router) if fast else None
    async with running(app_of(router), fast=fast, door=door) as live:
        yield live, broadcaster


async def texts(talk: Talk, until_data: object) -> list[dict[str, Any]]:
    """What is heard up to a message with that payload."""
    heard = [await talk.hear()]
    while heard[-1].get("data") != until_data:
        heard.append(await talk.hear())
    return heard


async def test_one_connection_has_queues_of_two_policies() -> None:
    """It stops reading: of the cursors it gets the newest, of the chat everything, and it stays."""
    async with serving() as (live, broadcaster), await live.talk(max_queue=1) as talk:
        await talk.ask(op="subscribe", channel="chat.1")
        await talk.ask(op="subscribe", channel="cursor.1")
        (client,) = broadcaster._registry
        talk.websocket.transport.pause_reading()
        for number in range(150):
            await broadcaster.publish("cursor.1", f"cursor {number} " + "x" * 20_000)
            await broadcaster.publish("chat.1", f"chat {number} " + "x" * 20_000)
        chat, cursor = (client.subscriptions[name].queue for name in ("chat.1", "cursor.1"))
        assert cursor.overflowed()
        assert not chat.overflowed()
        talk.websocket.transport.resume_reading()
        await broadcaster.publish("cursor.1", "newest")
        heard: list[dict[str, Any]] = []
        while not {"chat 149", "newest"} <= {str(one.get("data")).partition(" x")[0] for one in heard}:
            heard.append(await talk.hear())
        chats = [one["data"].split()[1] for one in heard if one["op"] == "message" and one["channel"] == "chat.1"]
        assert chats == [str(number) for number in range(150)]
        skipped = [one for one in heard if one["op"] == "gap"]
        assert {one["channel"] for one in skipped} == {"cursor.1"}
        assert sum(one["to"] - one["from"] + 1 for one in skipped) > 50
        assert client.reason is None


async def test_the_chat_ends_a_connection_that_stays_behind() -> None:
    """The policy of the channel whose queue overflowed decides, whatever other channels would forgive."""
    async with serving(stall_seconds=30) as (live, broadcaster), await live.talk(max_queue=1) as talk:
        await talk.ask(op="subscribe", channel="chat.1")
        await talk.ask(op="subscribe", channel="cursor.1")
        (client,) = broadcaster._registry
        talk.websocket.transport.pause_reading()
        client.subscriptions["chat.1"].queue.maxsize = 20
        for _ in range(150):
            await broadcaster.publish("chat.1", "x" * 20_000)
        await until(lambda: client.reason is not None)
        assert client.reason is CloseReason.SLOW
        talk.websocket.transport.abort()


async def test_no_history_is_given_where_options_allow_none() -> None:
    """Neither to one that resumes nor over HTTP; a client that is up to date resumes all the same."""
    async with serving() as (live, broadcaster), await live.talk() as talk:
        for number in range(3):
            await broadcaster.publish("cursor.1", number)
        epoch = broadcaster.inspect.channels().__next__().epoch
        answer = await talk.ask(op="subscribe", channel="cursor.1", since={"epoch": epoch, "offset": 1})
        assert answer["recovered"] is False
        gap = await talk.hear()
        assert (gap["op"], gap["from"], gap["to"], gap["reason"]) == ("gap", 2, 3, "history")
        await talk.ask(op="unsubscribe", channel="cursor.1")
        answer = await talk.ask(op="subscribe", channel="cursor.1", since={"epoch": epoch, "offset": 3})
        assert answer["recovered"] is True
        assert (await live.request("GET", "/channels/cursor.1/history")).json["messages"] == []


@pytest.mark.parametrize("fast", [True, False])
async def test_places_on_a_channel_are_few(fast: bool) -> None:
    """The third is refused on each way, and comes in when one has left."""
    async with serving(fast=fast) as (live, broadcaster), await live.talk() as talk:
        first = await live.connect("/ws?channel=small")
        await talk.ask(op="subscribe", channel="small")
        with pytest.raises(InvalidStatus, match="503"):
            await live.connect("/ws?channel=small")
        assert (await live.request("GET", "/sse/small")).code == "channel_full"
        async with await live.talk() as other:
            assert (await other.ask(op="subscribe", channel="small"))["code"] == "channel_full"
            await first.close()
            await until(lambda: broadcaster.inspect.channel("small").clients == 1)  # type: ignore[union-attr]
            assert (await other.ask(op="subscribe", channel="small"))["op"] == "subscribed"


@pytest.mark.parametrize("fast", [True, False])
async def test_peers_without_a_key_open_nothing(fast: bool) -> None:
    """By whatever operation or route. With the key, or from code, the channel comes to be, and then all may use it."""
    async with serving(fast=fast) as (live, broadcaster), await live.talk(additional_headers=KEY) as operator:
        async with await live.talk() as talk:
            refused = [await talk.ask(op="subscribe", channel=name) for name in ("kept.1", "unknown")]
            assert [one["code"] for one in refused] == ["no_channel", "no_channel"]
        for path in ("/ws?channel=kept.1", "/ws?channel=unknown"):
            with pytest.raises(InvalidStatus, match="404"):
                await live.connect(path)
        assert (await live.request("GET", "/sse/kept.1")).code == "no_channel"
        assert (await live.request("POST", "/publish/unknown", b"x", headers=KEY)).code == "no_channel"
        batch = json.dumps([{"channel": "unknown", "data": 1}, {"channel": "lobby", "data": 2}]).encode()
        answer = (await live.request("POST", "/publish", batch, headers=KEY)).json["results"]
        assert answer[0]["error"]["code"] == "no_channel"
        assert answer[1]["offset"] == 1
        assert not {"kept.1", "unknown"} & {one.name for one in broadcaster.inspect.channels()}
        with pytest.raises(NoChannelError):
            await broadcaster.publish("unknown", "x")
        assert (await operator.ask(op="subscribe", channel="kept.1"))["op"] == "subscribed"
        await (await live.connect("/ws?channel=kept.1")).close()
        await broadcaster.publish("kept.2", "x")
        async with live.events("/sse/kept.2") as events:
            assert "200 OK" in events.head


async def test_a_handshake_is_asked_again_each_time() -> None:
    """A channel that has gone is not opened again by a head that was allowed before."""
    async with serving() as (live, broadcaster):
        await broadcaster.publish("kept.1", "x")
        for _ in range(2):
            await (await live.connect("/ws?channel=kept.1")).close()
        await until(lambda: broadcaster.inspect.channel("kept.1").clients == 0)  # type: ignore[union-attr]
        broadcaster._hub.retention.expire(1e12)
        with pytest.raises(InvalidStatus, match="404"):
            await live.connect("/ws?channel=kept.1")


async def test_publications_of_one_client_are_paced() -> None:
    """Those of its channels together, and not those of another client; a template is the channel's own."""
    async with serving() as (live, _):
        loop = asyncio.get_running_loop()
        one, two = [await live.connect(f"/ws?channel=paced.{number}", additional_headers=KEY) for number in range(2)]
        begin = loop.time()
        for number in range(30):
            await one.send(str(number))
        await two.send("x")
        assert [await two.recv(), await one.recv()] == ["<x>", "<0>"]
        assert [await one.recv() for _ in range(29)] == [f"<{number}>" for number in range(1, 30)]
        assert loop.time() - begin >= 0.45  # 20 at once, and 10 at 20 a second
        await one.close()
        await two.close()


async def test_each_channel_names_its_pattern() -> None:
    """In the list, and in the statistics."""
    async with serving() as (live, broadcaster):
        for name in ("cursor.1", "lobby"):
            await broadcaster.publish(name, "x")
        listed = (await live.request("GET", "/channels", headers=KEY)).json["channels"]
        assert {one["name"]: one["pattern"] for one in listed} == {"cursor.1": "cursor.*", "lobby": "lobby"}


async def test_the_rules_hold_behind_a_backplane() -> None:
    """A channel that another server has exists here too; all else is refused as without."""
    engine = MemoryEngine()
    async with serving(backplane=engine.backplane()) as (live, _):
        other = Broadcaster(backplane=engine.backplane(), trim_heap=False, memory_bytes=None)
        async with other, await live.talk() as talk:
            for name in ("kept.1", "unknown"):
                assert (await talk.ask(op="subscribe", channel=name))["code"] == "no_channel"
                assert (await live.request("GET", f"/sse/{name}")).code == "no_channel"
                with pytest.raises(InvalidStatus, match="404"):
                    await live.connect(f"/ws?channel={name}")
            assert (await live.request("POST", "/publish/unknown", b"x", headers=KEY)).code == "no_channel"
            assert not engine._channels, "none of them has begun"
            await other.publish("kept.1", "x")
            assert (await talk.ask(op="subscribe", channel="kept.1"))["op"] == "subscribed"
            await (await live.connect("/ws?channel=kept.1")).close()
            await other.publish("cursor.1", "x")
            assert (await talk.ask(op="subscribe", channel="cursor.1", since={"epoch": "e", "offset": 0}))["op"]
            assert (await live.request("GET", "/channels/cursor.1/history")).json["messages"] == []


@pytest.mark.parametrize("shared", [False, True])
async def test_a_stream_of_ones_own_keeps_to_rights_before_rules(shared: bool) -> None:
    """A reader without a right is not told which channels exist; one with it is told that there is no place."""
    backplane = MemoryEngine().backplane() if shared else None
    options = {"small": ChannelOptions(max_subscribers=1), "*": ChannelOptions(create="operators")}
    broadcaster = Broadcaster(channels=options, trim_heap=False, backplane=backplane)
    app = FastAPI(lifespan=broadcaster.lifespan)

    @app.get("/own/{channel}")
    async def stream(request: Request, channel: str, deny: str = "") -> Response:
        return broadcaster.stream(request, channel, may_subscribe=not deny)

    async with running(app) as live:
        await broadcaster.publish("there", "x")
        found = [(await live.request("GET", f"/own/{name}?deny=yes")).code for name in ("there", "nowhere")]
        assert found == ["forbidden", "forbidden"]
        assert (await live.request("GET", "/own/nowhere")).code == "no_channel"
        async with live.events("/own/small") as events:
            assert await events.next() is not None
            assert (await live.request("GET", "/own/small")).code == "channel_full"
            assert (await live.request("GET", "/own/small?deny=yes")).code == "forbidden"
