from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fanwise.client import tokens
from fanwise.client.client import FanwiseClient, State
from fanwise.client.errors import NotConnectedError, RefusedError

from ..support.live import until
from ..support.scripted import WELCOME, Naps, Peer, Scripted, again, client_for, offsets, scripted, subscribed

pytestmark = pytest.mark.anyio

LONG = {**WELCOME, "expires_in": 3600}
SHORT = {**WELCOME, "expires_in": 0.02}


class Desk:
    """Hands out t1, t2 and so on, or what a test puts in the place of one."""

    def __init__(self) -> None:
        self.calls = 0
        self.odd: dict[int, Callable[[], Any]] = {}  # {number of the call: what it does instead}

    async def __call__(self) -> str:
        self.calls += 1
        result = self.odd.get(self.calls, lambda: f"t{self.calls}")()
        return str(await result if isinstance(result, Awaitable) else result)


def brought(server: Scripted) -> list[str]:
    """The tokens in the handshakes."""
    return [request.headers["Authorization"].removeprefix("Bearer ") for request in server.requests]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of a moment are renewed all the same."""
    monkeypatch.setattr(tokens, "_REFRESH_SECONDS", 0.01)


async def renewed(peer: Peer, token: str, **answer: Any) -> None:
    """The client gives the server a new token, and hears that it is good for long."""
    assert await peer.hear() == {"op": "authenticate", "token": token}
    await peer.say("authenticated", **{"user": "u", "expires_in": 3600, **answer})


async def test_one_token_for_all_connections() -> None:
    """It is fetched once, and goes into both handshakes; the function may be a plain one."""
    calls = itertools.count(1)
    async with scripted() as server, client_for(server.url, token=lambda: f"t{next(calls)}") as client:
        server.greeting = LONG
        await subscribed(server, client)
        publication = asyncio.create_task(client.publish("lobby", 1))
        up = await server.accept()
        await up.say("published", id=(await up.hear())["id"], channel="lobby", epoch="e", offset=6)
        await publication
        assert brought(server) == ["t1", "t1"]
        assert all("t1" not in request.path for request in server.requests)


@pytest.mark.usefixtures("eager")
async def test_it_is_renewed_in_time() -> None:
    """On each connection that stands, and nothing else happens there."""
    desk = Desk()
    async with scripted() as server, client_for(server.url, token=desk) as client:
        server.greeting = SHORT
        peer = await subscribed(server, client)
        await renewed(peer, "t2")
        await peer.message("lobby", 6)
        assert await offsets(client, 1) == [6]
        assert (desk.calls, client.state) == (2, State.CONNECTED)


async def test_an_expired_token_is_replaced() -> None:
    """After a close with 4013 the next handshake brings another, and the stream goes on where it was."""
    async with scripted() as server, client_for(server.url, token=Desk()) as client:
        server.greeting = LONG
        first = await subscribed(server, client)
        await first.message("lobby", 6)
        await first.close(4013, "expired")
        peer = await again(server, 6)
        await peer.message("lobby", 7)
        assert await offsets(client, 2) == [6, 7]
        assert brought(server) == ["t1", "t2"]


async def test_a_lost_connection_keeps_its_token() -> None:
    """Nobody is asked for another one when a server restarts."""
    async with scripted() as server, client_for(server.url, token=Desk()) as client:
        server.greeting = LONG
        await (await subscribed(server, client)).close(1012)
        await again(server, 5)
        assert brought(server) == ["t1", "t1"]


async def test_refused_tokens_are_fetched_again_with_backoff() -> None:
    """However often the server says 401, and at ever longer intervals."""
    naps = Naps()
    async with scripted() as server, client_for(server.url, token=Desk(), sleep=naps) as client:
        server.refusals.extend([(401, {}, "expired")] * 8)
        await subscribed(server, client)
        assert brought(server) == [f"t{number}" for number in range(1, 10)]
        assert naps.seconds == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


async def test_what_a_function_may_do_wrong() -> None:
    """It raises, hangs, and returns what is no token: each is an attempt that failed, and the next one succeeds."""
    desk = Desk()
    desk.odd = {1: lambda: 1 / 0, 2: asyncio.Event().wait, 3: lambda: "a b", 4: lambda: ""}
    async with scripted() as server, client_for(server.url, token=desk, open_seconds=0.05) as client:
        await subscribed(server, client)
        assert brought(server) == ["t5"]


async def test_why_there_is_no_connection() -> None:
    """The error of a call that waits says what the function raised."""

    def fail() -> str:
        raise LookupError("no session")

    client = client_for("ws://127.0.0.1:1/ws", token=fail, sleep=asyncio.sleep, acknowledge_seconds=0.01)
    async with client:
        with pytest.raises(NotConnectedError, match="no token: LookupError: no session"):
            await client.publish("lobby", 1)


async def test_a_function_that_wants_no_other_attempt() -> None:
    """RefusedError ends the client, for all that wait."""

    def fail() -> str:
        raise RefusedError(status=403, text="logged out")

    async with client_for("ws://127.0.0.1:1/ws", token=fail) as client:
        for attempt in (client.subscribe("lobby"), anext(client)):
            with pytest.raises(RefusedError, match="logged out"):
                await attempt
        assert client.state is State.CLOSED


@pytest.mark.usefixtures("eager")
async def test_a_renewal_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The connection lives on its old token, and the function is asked again, with backoff."""
    desk = Desk()
    desk.odd = {2: lambda: 1 / 0, 3: lambda: "t1"}
    async with scripted() as server, client_for(server.url, token=desk, backoff_base_seconds=0.01) as client:
        server.greeting = SHORT
        peer = await subscribed(server, client)
        await renewed(peer, "t4")
        assert "ZeroDivisionError" in caplog.text
        assert "the same one again" in caplog.text
        assert len(server.requests) == 1


@pytest.mark.usefixtures("eager")
async def test_a_new_token_that_the_server_refuses() -> None:
    """Another is fetched, and its error is none of the program's."""
    async with scripted() as server, client_for(server.url, token=Desk(), backoff_base_seconds=0.01) as client:
        server.greeting = SHORT
        peer = await subscribed(server, client)
        assert await peer.hear() == {"op": "authenticate", "token": "t2"}
        await peer.say("error", code="forbidden", message="another user's")
        await renewed(peer, "t3")
        await peer.message("lobby", 6)
        assert await offsets(client, 1) == [6]


@pytest.mark.usefixtures("eager")
async def test_a_connection_that_is_lost_during_a_renewal() -> None:
    """The next one takes the token that was on its way, and the function is not called again."""
    desk, permit = Desk(), asyncio.Event()

    async def later() -> str:
        await permit.wait()
        return "t2"

    desk.odd = {2: later}
    async with scripted() as server, client_for(server.url, token=desk) as client:
        server.greeting = SHORT
        peer = await subscribed(server, client)
        await until(lambda: desk.calls == 2)
        server.greeting = LONG
        await peer.cut()
        permit.set()
        await again(server, 5)
        assert brought(server) == ["t1", "t2"]
        assert desk.calls == 2


async def test_nothing_is_left_behind() -> None:
    """Neither a renewal nor a fetch that hangs outlives the client."""
    before = asyncio.all_tasks()
    desk = Desk()
    desk.odd = {1: asyncio.Event().wait}
    async with client_for("ws://127.0.0.1:1/ws", token=desk) as client:
        asking = asyncio.create_task(client.subscribe("lobby"))
        await until(lambda: desk.calls == 1)
    await asyncio.wait([asking])
    assert asking.exception() is not None
    assert asyncio.all_tasks() <= before


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "\u00e9"])
async def test_a_token_that_cannot_stand_in_a_header(token: str) -> None:
    """It is refused where it is given, and not shown; so is one beside a key."""
    with pytest.raises(ValueError, match="the token must be printable ASCII") as caught:
        FanwiseClient("ws://127.0.0.1/ws", token=token)
    assert not token or token not in str(caught.value)
    with pytest.raises(ValueError, match="api_key and token"):
        FanwiseClient("ws://127.0.0.1/ws", token="t", api_key="k")
