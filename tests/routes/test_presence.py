from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.requests import HTTPConnection

from fanwise import Broadcaster, ChannelOptions, User
from fanwise.core.rights import Action
from fanwise.routes import Access
from fanwise.routes.json_models import Answer
from fanwise.routes.presence import ChannelPresence

from ..support.live import Live, Talk, app_of, running

pytestmark = pytest.mark.anyio

ANSWER: TypeAdapter[object] = TypeAdapter(Answer)


def identify(connection: HTTPConnection) -> User | None:
    name = connection.headers.get("x-user")
    return None if name is None else User(name, {"name": name.title()})


async def talk_as(live: Live, name: str | None) -> Talk:
    return await live.talk(additional_headers={} if name is None else {"X-User": name})


async def hear(talk: Talk) -> dict[str, Any]:
    heard = await talk.hear()
    ANSWER.validate_python(heard)
    return heard


@pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
async def test_who_is_here(fast: bool) -> None:
    """The same over HTTP, in the JSON dialect and in Python; who asks for it hears of each that comes and goes."""
    broadcaster = Broadcaster(access=Access(identify=identify), trim_heap=False)
    members = [{"id": name, "info": {"name": name.title()}} for name in ("ada", "bob")]
    async with (
        running(app_of(broadcaster.router), fast=fast) as live,
        await talk_as(live, "ada") as ada,
        await talk_as(live, None) as nobody,
    ):
        await ada.ask(op="subscribe", channel="lobby", presence=True)
        await nobody.ask(op="subscribe", channel="lobby")
        async with await talk_as(live, "bob") as bob:
            await bob.ask(op="subscribe", channel="lobby")
            assert await hear(ada) == {"op": "join", "channel": "lobby", **members[1]}
            counts = {"channel": "lobby", "clients": 3, "users": 2}
            here = {**counts, "members": members, "truncated": False}
            asked = await ada.ask(op="presence", channel="lobby", id="x")
            ANSWER.validate_python(asked)
            assert asked == {"op": "presence", **here, "id": "x"}
            assert (await live.request("GET", "/channels/lobby/presence")).json == here
            one = (await live.request("GET", "/channels/lobby/presence?limit=1")).json
            assert one == {**counts, "members": members[:1], "truncated": True}
            ChannelPresence.model_validate(one)
            found = await broadcaster.presence("lobby")
            assert [{"id": user.id, "info": user.info} for user in found.members] == members
        assert await hear(ada) == {"op": "leave", "channel": "lobby", "id": "bob"}
        nothing = {"channel": "b", "clients": 0, "users": 0, "members": [], "truncated": False}
        assert (await live.request("GET", "/channels/b/presence")).json == nothing
        assert await nobody.ask(op="presence", channel="b") == {"op": "presence", **nothing}
        assert [channel["name"] for channel in (await live.request("GET", "/channels")).json["channels"]] == ["lobby"]


async def test_what_is_wrong_is_answered() -> None:
    """Names and limits, in the words of the others."""
    broadcaster = Broadcaster(trim_heap=False)
    async with running(app_of(broadcaster.router)) as live, await live.talk() as talk:
        assert (await live.request("GET", "/channels/no%20good/presence")).code == "bad_channel"
        assert (await live.request("GET", "/channels/a/presence?limit=1001")).code == "bad_request"
        bad = await talk.ask(op="presence", channel="no good", id=7)
        assert (bad["op"], bad["code"], bad["id"]) == ("error", "bad_channel", 7)
        assert (await talk.ask(op="subscribe", channel="a", presence="yes"))["code"] == "wrong_type"


async def test_who_is_here_is_a_right_of_its_own() -> None:
    """Over HTTP, in the dialect, and for the events; without it the rest goes on."""

    def authorise(_user: User | None, action: Action, channel: str) -> bool:
        return action is not Action.PRESENCE or channel == "open"

    broadcaster = Broadcaster(access=Access(identify=identify, authorise=authorise), trim_heap=False)
    async with running(app_of(broadcaster.router)) as live, await talk_as(live, "ada") as talk:
        assert (await live.request("GET", "/channels/a/presence")).code == "forbidden"
        assert (await talk.ask(op="presence", channel="a"))["code"] == "forbidden"
        refused = await talk.ask(op="subscribe", channel="a", presence=True)
        assert (refused["code"], broadcaster.presence.rosters) == ("forbidden", {})
        assert (await talk.ask(op="subscribe", channel="a"))["op"] == "subscribed"
        assert (await live.request("GET", "/channels/open/presence")).status == 200
        assert (await talk.ask(op="subscribe", channel="open", presence=True))["op"] == "subscribed"


async def test_a_channel_may_have_none() -> None:
    """Neither the list nor the events, or the events alone, as the channel's options say."""
    options = {"secret.*": ChannelOptions(presence=False), "quiet.*": ChannelOptions(presence_events=False)}
    broadcaster = Broadcaster(channels=options, trim_heap=False)
    async with running(app_of(broadcaster.router)) as live, await live.talk() as talk:
        assert (await live.request("GET", "/channels/secret.a/presence")).code == "forbidden"
        assert (await talk.ask(op="presence", channel="secret.a"))["code"] == "forbidden"
        for name in ("secret.a", "quiet.a"):
            assert (await talk.ask(op="subscribe", channel=name, presence=True))["code"] == "forbidden"
            assert (await talk.ask(op="subscribe", channel=name))["op"] == "subscribed"
        assert (await talk.ask(op="presence", channel="quiet.a"))["clients"] == 1
