from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
import trustme

from fanwise.client.client import Position, State
from fanwise.client.errors import ClosedError, DialectError, NotConnectedError, RefusedError

from ..support.live import until
from ..support.scripted import (
    WELCOME,
    Naps,
    Scripted,
    again,
    client_for,
    listening,
    offsets,
    scripted,
    subscribed,
    talking,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("code", [1000, 1002, 1008, 1009, 4500, 4501, 4503, 4999])
async def test_codes_that_ask_not_to_come_back(code: int) -> None:
    """Iteration ends with an error that carries code and reason, after the messages that came before."""
    async with talking() as (server, client, peer):
        await peer.message("lobby", 6)
        await peer.close(code, "because")
        assert await offsets(client, 1) == [6]
        for attempt in (anext(client), client.subscribe("other"), anext(client)):
            with pytest.raises(ClosedError) as caught:
                await attempt
            assert (caught.value.code, caught.value.reason) == (code, "because")
        assert client.state is State.CLOSED
        assert client.positions == {"lobby": Position("e", 6)}
        assert len(server.requests) == 1


@pytest.mark.parametrize("code", [None, 1001, 1011, 1012, 1013, 3000, 4000, 4008, 4009, 4499])
async def test_codes_that_ask_to_come_back(code: int | None) -> None:
    """Iteration notices nothing; None is a connection that was cut."""
    async with talking() as (server, client, first):
        await first.message("lobby", 6)
        await (first.cut() if code is None else first.close(code))
        peer = await again(server, 6)
        await peer.message("lobby", 7)
        assert await offsets(client, 2) == [6, 7]


async def test_the_restart_hint_is_for_one_attempt() -> None:
    """Exactly so long, then backoff as usual."""
    naps = Naps()
    async with talking(sleep=naps) as (server, _, first):
        server.refusals += [(503, {}, "")] * 2
        await first.close(1012, '{"reason":"restart","retry_ms":742}')
        peer = await again(server, 5)
        assert naps.seconds == [0.742, 0.25, 0.5]
        await peer.close(1012, '{"reason":"restart","retry_ms":0}')
        await again(server, 5)
        assert naps.seconds[3:] == [1.0]  # twice without a steady connection in between: no hurry


async def test_a_refusal_with_retry_after() -> None:
    """Not before that, and not all at once either."""
    naps = Naps()
    async with scripted() as server, client_for(server.url, sleep=naps) as client:
        server.refusals += [(503, {"Retry-After": "5"}, "draining"), (503, {}, ""), (429, {"Retry-After": "1"}, "")]
        asking = asyncio.create_task(client.subscribe("lobby"))
        peer = await server.accept()
        await peer.hear()
        await peer.subscribed("lobby", "e", 0)
        await asking
        assert naps.seconds == [5 + 0.25, 0.5, 1 + 1.0]


async def test_backoff_begins_again_after_a_steady_connection() -> None:
    """One that was lost at once counts as one more failure."""
    naps = Naps()
    now = 0.0
    async with talking(sleep=naps, clock=lambda: now) as (server, client, first):
        peer = first
        for _ in range(3):
            await peer.cut()
            peer = await again(server, 5)
        await until(lambda: client.state is State.CONNECTED)
        now = 10.0
        await peer.cut()
        await again(server, 5)
        assert naps.seconds == [0.25, 0.5, 1.0, 0.25]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_that_stands(status: int) -> None:
    """Everything that needs the connection raises it, with what the server said; nobody asks again."""
    async with scripted() as server, client_for(server.url) as client:
        server.refusals += [(status, {}, "no\n")] * 2
        for attempt in (client.subscribe("lobby"), client.publish("lobby", "x"), anext(client)):
            with pytest.raises(RefusedError, match=f"with status {status}: no$") as caught:
                await attempt
            assert (caught.value.status, caught.value.text) == (status, "no")
        assert len(server.requests) == 2


async def test_a_refusal_ends_an_iteration_that_runs() -> None:
    """As when the server wants a key since its restart."""
    async with talking() as (server, client, peer):
        server.refusals.append((401, {}, "a key, please"))
        await peer.cut()
        with pytest.raises(RefusedError, match="a key, please"):
            await anext(client)


async def test_a_server_without_the_dialect() -> None:
    """Another WebSocket server is no Fanwise."""
    async with scripted(subprotocols=()) as server, client_for(server.url) as client:
        with pytest.raises(RefusedError, match=r"fanwise\.v1"):
            await client.subscribe("lobby")


@pytest.mark.parametrize("frame", ['{"op":"hello"}', "{", '{"op":"unsubscribed","channel":"a"}'])
async def test_a_server_that_does_not_say_welcome(frame: str) -> None:
    """What comes first is the welcome, or it is another dialect."""
    async with scripted() as server, client_for(server.url) as client:
        server.greeting = None
        asking = asyncio.create_task(client.subscribe("lobby"))
        await (await server.accept()).connection.send(frame)
        with pytest.raises(DialectError):
            await asking


async def test_a_server_that_says_nothing_at_all() -> None:
    """It is left after `open_seconds`, and tried again."""
    naps = Naps()
    async with scripted() as server, client_for(server.url, open_seconds=0.05, sleep=naps) as client:
        server.greeting = None
        asking = asyncio.create_task(client.subscribe("lobby"))
        await server.accept()
        server.greeting = WELCOME
        await until(lambda: bool(naps.seconds))
        peer = await server.accept()
        while peer.connection.state.name != "OPEN":
            peer = await server.accept()
        await peer.hear()
        await peer.subscribed("lobby", "e", 0)
        assert await asking == Position("e", 0)


async def test_a_frame_in_the_middle_that_is_no_dialect() -> None:
    """It is not passed over: the program hears of it."""
    async with talking() as (_, client, peer):
        await peer.message("lobby", 6)
        await peer.connection.send("{")
        assert await offsets(client, 1) == [6]
        with pytest.raises(DialectError, match="no JSON"):
            await anext(client)


async def test_a_frame_of_a_later_version_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """With a word in the log."""
    async with talking() as (_, client, peer):
        await peer.say("weather", who="x")
        await peer.message("lobby", 6)
        assert await offsets(client, 1) == [6]
        assert "weather" in caplog.text


async def test_a_frame_that_is_too_large() -> None:
    """The client ends it with 1009 and does not ask for it again and again."""
    async with talking(max_frame_bytes=1000) as (server, client, peer):
        await peer.message("lobby", 6, "x" * 2000)
        with pytest.raises(ClosedError) as caught:
            await anext(client)
        assert caught.value.code == 1009
        assert len(server.requests) == 1


async def test_no_server_at_all() -> None:
    """The error says what the last attempt said, and that nothing was published."""
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        url = f"ws://127.0.0.1:{placeholder.getsockname()[1]}/ws"
    async with client_for(url, acknowledge_seconds=0.2) as client:
        with pytest.raises(NotConnectedError, match="cannot connect"):
            await client.publish("lobby", "x")


async def test_closing_while_it_waits_to_reconnect() -> None:
    """It does not wait to the end."""
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    async with talking(sleep=sleep) as (_, client, peer):
        await peer.cut()
        await asleep.wait()
        assert client.state is State.WAITING
        await client.close()
        assert client.state.name == "CLOSED"


async def test_options_that_cannot_work_are_heard_of(caplog: pytest.LogCaptureFixture) -> None:
    """What the library raises for them reaches the caller instead of being tried again for ever."""
    async with scripted() as server, client_for(server.url, ssl=ssl.create_default_context()) as client:
        with pytest.raises(ValueError, match="ssl argument"):
            await client.subscribe("lobby")
    assert "ended unexpectedly" in caplog.text
    async with client_for("http://127.0.0.1/ws") as client:
        with pytest.raises(RefusedError, match="isn't a valid URI"):
            await client.publish("lobby", "x")


async def test_tls() -> None:
    """`wss:` with a context of the program's own; without it the certificate is a refusal, not a matter of patience."""
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    script = Scripted()
    async with listening(script.handle, script.judge, ssl=theirs) as server:
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        async with client_for(url, ssl=ours) as client:
            await subscribed(script, client)
        async with client_for(url) as client:
            with pytest.raises(RefusedError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.subscribe("lobby")
        script.end()
