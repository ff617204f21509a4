"""What ends with a token: rights that the next one lacks, and answers that take longer than it is valid."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from websockets.typing import Subprotocol

from fanwise import Action, Broadcaster, ChannelOptions, User
from fanwise.backplane.memory import MemoryEngine
from fanwise.core.trace import Ended
from fanwise.core.trace_reader import read_trace
from fanwise.routes import Access, open_tokens

from ..support.live import Live, Talk, app_of, running, until
from .test_streams import buffered_bytes
from .test_tokens import all_of, bearer, closed, talking, token

pytestmark = pytest.mark.anyio

SECRET = "a secret of thirty-two bytes....."
given = partial(token, key=SECRET, algorithm="HS256")


def sees(user: User | None, action: Action, _channel: str) -> bool:
    """The application's own rule: who is on a channel is for those whose info says so."""
    return action is not Action.PRESENCE or (user is not None and user.info == "sees")


@asynccontextmanager
async def serving(*, shared: bool = False, authorise: Any = sees) -> AsyncIterator[tuple[Live, Broadcaster]]:
    engine = MemoryEngine().backplane() if shared else None
    access = Access(tokens=open_tokens(key=SECRET), read="token", authorise=authorise)
    options = {"made.*": ChannelOptions(create="operators")}
    broadcaster = Broadcaster(access=access, channels=options, backplane=engine, trim_heap=False)
    async with running(app_of(broadcaster.router)) as live:
        yield live, broadcaster


Lost = Callable[[Talk], Awaitable[bool]]  # returns whether the right is gone


async def answered(talk: Talk, op: str, **asked: Any) -> dict[str, Any]:
    """The answer to an operation, or the error; messages before it are passed over."""
    await talk.say(op=op, **asked)
    while (heard := await talk.hear())["op"] in ("message", "join", "leave", "presence_gap"):
        pass
    return heard


def refused(code: str = "forbidden", /, **asked: Any) -> Lost:
    async def lost(talk: Talk) -> bool:
        return bool((await answered(talk, **asked)).get("code") == code)

    return lost


async def left(talk: Talk) -> bool:
    """Whether the channel was left: nobody is told of what comes then."""
    return bool((await answered(talk, "unsubscribe", channel="a")).get("code") == "not_subscribed")


ALL: dict[str, Any] = {"subscribe": ["*"], "publish": ["*"], "info": "sees"}
# {right: (what the first token has more, what the refreshed one has, whether the right is gone)}
RIGHTS: dict[str, tuple[dict[str, Any], dict[str, Any], Lost]] = {
    "to listen": ({}, {"subscribe": ["b"]}, left),
    "to listen, and to watch who comes": ({"presence": True}, {"subscribe": ["b"]}, left),
    "to watch who comes": ({"presence": True}, {"info": None}, left),
    "to ask who is there": ({}, {"info": None}, refused(op="presence", channel="a")),
    "to subscribe": ({}, {"subscribe": ["a"]}, refused(op="subscribe", channel="b")),
    "to resume": ({}, {"subscribe": ["a"]}, refused(op="subscribe", channel="b", since={"epoch": "e", "offset": 1})),
    "to publish": ({}, {"publish": ["b"]}, refused(op="publish", channel="a", data=1)),
    "to make channels by subscribing": ({}, {}, refused("no_channel", op="subscribe", channel="made.a")),
    "to make channels by publishing": ({}, {}, refused("no_channel", op="publish", channel="made.a", data=1)),
}


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "behind a backplane"])
async def test_a_right_that_the_next_token_lacks_is_gone_at_once(shared: bool) -> None:
    """Each that was had before, and each that somebody held on to; a refresh with the same rights keeps all."""
    for name, (op, fewer, lost) in RIGHTS.items():
        for claims, is_gone in ((ALL | {"operate": True}, False), (ALL | fewer, True)):
            async with serving(shared=shared) as (live, broadcaster):
                await broadcaster.publish("a", 0)
                talk = await talking(live, given(**ALL, operate=True))
                assert (await talk.ask(op="subscribe", channel="a", **op))["op"] == "subscribed", name
                await talk.say(op="authenticate", token=given(**claims))
                while (heard := await talk.hear())["op"] != "authenticated":
                    assert heard["op"] in ("unsubscribed", "join", "presence_gap"), name
                assert await lost(talk) is is_gone, name
                talk.websocket.transport.abort()


async def test_nobody_hears_anything_of_a_channel_that_was_left() -> None:
    """Neither messages nor who comes."""
    async with serving() as (live, broadcaster):  # noqa: SIM117
        async with await talking(live, given(**ALL)) as talk, await talking(live, given(**ALL, sub="bob")) as other:
            await talk.ask(op="subscribe", channel="a", presence=True)
            await answered(talk, "authenticate", token=given(**ALL | {"info": None}))
            await other.ask(op="subscribe", channel="a")
            await broadcaster.publish("a", "secret")
            assert broadcaster.presence.watched == {}
            assert (await other.hear())["data"] == "secret"
            heard = [await talk.hear(), await answered(talk, "publish", channel="b", data=1)]
            assert [one["op"] for one in heard] == ["authenticated", "published"]


async def test_what_a_token_does_not_name_is_left_before_the_application_is_asked() -> None:
    """However long its answer takes."""
    asked: list[str] = []
    slow, go = False, asyncio.Event()

    async def authorise(_user: object, _action: Action, channel: str) -> bool:
        if slow:
            asked.append(channel)
            await go.wait()
        return True

    async with serving(authorise=authorise) as (live, _), await talking(live, given(**ALL)) as talk:
        for channel in ("a", "b"):
            await talk.ask(op="subscribe", channel=channel)
        slow = True
        await talk.say(op="authenticate", token=given(subscribe=["a"]))
        assert await talk.hear() == {"op": "unsubscribed", "channel": "b"}
        await until(lambda: asked == ["a"])
        go.set()
        assert (await talk.hear())["op"] == "authenticated"


async def test_answers_that_take_longer_than_a_token_end_with_it() -> None:
    """A stream, the page's feed and a trace; each says that it has ended."""
    async with serving() as (live, _):
        short = given(**ALL, operate=True, exp=int(time.time()) + 2)
        tracing = asyncio.create_task(live.request("GET", "/trace?seconds=600", headers=bearer(short)))
        feed = Talk(
            await live.connect("/live", subprotocols=[Subprotocol("fanwise.v1")], additional_headers=bearer(short))
        )
        await feed.say(op="subscribe", channel="stats")
        async with live.events("/sse/a", headers=bearer(short)) as events:
            assert json.loads([event.data async for event in all_of(events)][-1])["code"] == 4013
        assert await closed(feed) == (4013, "expired")
        *_, last = read_trace([(await tracing).body])
        assert isinstance(last, Ended)
        assert last.reason == "expired"


@pytest.mark.parametrize("path", ["/channels/a/history?limit=1000", "/channels?limit=10000"])
async def test_a_long_answer_that_is_read_too_late_is_cut(path: str) -> None:
    """It ends with the token of its request, is no JSON, and has less than a whole one."""
    async with serving() as (live, broadcaster):
        for number in range(1000):
            await broadcaster.publish("a", f"{number:04d}" * 1000)
        for number in range(4000):
            await broadcaster.publish(f"{number:04}" + "x" * 200, 1)
        exp = int(time.time()) + 2
        whole = await live.request("GET", path, headers=bearer(given(**ALL, operate=True)))
        short = given(**ALL, operate=True, exp=exp)
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port, limit=4096)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {short}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        await until(lambda: max(buffered_bytes(live), default=0) > 0)
        await until(lambda: time.time() > exp)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert len(answer) < len(whole.body)
        with pytest.raises(json.JSONDecodeError):
            json.loads(b"".join(answer.split(b"\r\n\r\n", 1)[1].split(b"\r\n")[1::2]))
