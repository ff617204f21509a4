from __future__ import annotations

import ast
import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from server.client import FanwiseClient, Gap, Message, Position, State
from server.downlink import _STRETCH
from server.errors import (
    ChannelNameError,
    ClosedError,
    DialectError,
    NotConnectedError,
    PublishError,
    RefusedError,
    SubscribeError,
    UnconfirmedError,
)

from .live import until
from .processes import ROOT
from .scripted import WELCOME, Naps, Peer, Scripted, client_for, listening, scripted, unreliable

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def talking(**options: Any) -> AsyncIterator[tuple[Scripted, FanwiseClient, Peer]]:
    """A client subscribed to the lobby at e:5, and the server's end of it."""
    async with scripted() as server, client_for(server.url, **options) as client:
        yield server, client, await subscribed(server, client)


async def subscribed(server: Scripted, client: FanwiseClient, channel: str = "lobby") -> Peer:
    asking = asyncio.create_task(client.subscribe(channel))
    peer = await server.accept()
    assert await peer.hear() == {"op": "subscribe", "channel": channel}
    await peer.subscribed(channel, "e", 5)
    assert await asking == Position("e", 5)
    return peer


async def again(server: Scripted, since: int, *, epoch: str = "e") -> Peer:
    """The next connection, on which the client asks for what comes after `since`, and gets it."""
    peer = await server.accept()
    assert await peer.hear() == {"op": "subscribe", "channel": "lobby", "since": {"epoch": epoch, "offset": since}}
    await peer.subscribed("lobby", epoch, since, recovered=True)
    return peer


async def offsets(client: FanwiseClient, number: int) -> list[int]:
    return [(await anext(client)).offset for _ in range(number)]


async def publishing(server: Scripted, client: FanwiseClient, data: Any = "x") -> tuple[asyncio.Task[Position], Peer]:
    """A first publish under way, and the server's end of its connection."""
    task = asyncio.create_task(client.publish("lobby", data))
    return task, await server.accept()


async def test_messages_come_as_they_were_published() -> None:
    """Text, JSON and binary, with epoch, offset and key."""
    async with talking() as (_, client, peer):
        await peer.say("message", channel="lobby", offset=6, data="text", key="k")
        await peer.say("message", channel="lobby", offset=7, data={"a": [1]})
        await peer.say("message", channel="lobby", offset=8, data="AP8=", encoding="base64")
        assert [await anext(client) for _ in range(3)] == [
            Message("lobby", "e", 6, "text", "k"),
            Message("lobby", "e", 7, {"a": [1]}),
            Message("lobby", "e", 8, b"\x00\xff"),
        ]


async def test_positions_say_what_the_program_has() -> None:
    """Not what waits in the queue: who stores them and dies there loses nothing."""
    async with talking() as (_, client, peer):
        assert client.positions == {"lobby": Position("e", 5)}
        await peer.message("lobby", 6)
        await peer.message("lobby", 7)
        await until(lambda: len(client._mailbox) == 2)
        await anext(client)
        assert client.positions == {"lobby": Position("e", 6)}


async def test_since_is_what_the_program_says() -> None:
    """A stored position goes out, and what comes after it comes in."""
    async with scripted() as server, client_for(server.url) as client:
        asking = asyncio.create_task(client.subscribe("lobby", since=Position("e", 2)))
        peer = await again(server, 2)
        await peer.message("lobby", 3)
        assert await asking == Position("e", 2)
        assert await offsets(client, 1) == [3]


async def test_a_lost_connection_is_resumed() -> None:
    """After the last offset that came in, on all channels; what comes twice is dropped."""
    async with talking() as (server, client, peer):
        asking = asyncio.create_task(client.subscribe("other"))
        await peer.hear()
        await peer.subscribed("other", "o", 0)
        await asking
        await peer.message("lobby", 6)
        await peer.message("lobby", 7)
        await until(lambda: len(client._mailbox) == 2)
        await peer.cut()
        peer = await again(server, 7)
        assert await peer.hear() == {"op": "subscribe", "channel": "other", "since": {"epoch": "o", "offset": 0}}
        await peer.subscribed("other", "o", 0, recovered=True)
        for offset in (6, 7, 8):
            await peer.message("lobby", offset)
        await peer.message("other", 1)
        assert await offsets(client, 4) == [6, 7, 8, 1]


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


@pytest.mark.parametrize("coroutine", [False, True])
async def test_gaps_are_told_in_their_place(coroutine: bool) -> None:
    """Between the message before and the message after, to a function or a coroutine function."""
    seen: list[object] = []

    async def tell_later(gap: Gap) -> None:
        await asyncio.sleep(0)
        seen.append(gap)

    async with talking(on_gap=tell_later if coroutine else seen.append) as (_, client, peer):
        await peer.message("lobby", 6)
        await peer.say("gap", channel="lobby", epoch="e", reason="slow", **{"from": 7, "to": 9})
        await peer.message("lobby", 10)
        await peer.message("lobby", 12)
        for _ in range(3):
            seen.append((await anext(client)).offset)
        assert seen == [6, Gap("lobby", "e", 7, 9, "slow"), 10, Gap("lobby", "e", 11, 11, "unknown"), 12]


async def test_gaps_are_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has to ask."""
    async with talking() as (_, client, peer):
        await peer.say("gap", channel="lobby", epoch="e", reason="slow", **{"from": 6, "to": 9})
        await peer.message("lobby", 10)
        await anext(client)
        assert "lobby lacks 6 to 9 of log e (slow)" in caplog.text


async def test_a_server_that_lost_its_log() -> None:
    """The new epoch is told as a gap, and its messages begin at 1 again."""
    gaps: list[Gap] = []
    async with talking(on_gap=gaps.append) as (server, client, peer):
        await peer.cut()
        peer = await server.accept()
        await peer.hear()
        await peer.subscribed("lobby", "f", 0)
        await peer.say("gap", channel="lobby", epoch="f", reason="epoch", **{"from": 1, "to": 2})
        await peer.message("lobby", 3)
        assert await anext(client) == Message("lobby", "f", 3, 3)
        assert gaps == [Gap("lobby", "f", 1, 2, "epoch")]
        assert client.positions == {"lobby": Position("f", 3)}
        await peer.cut()
        await again(server, 3, epoch="f")


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
    async with talking() as (server, client, peer):
        await peer.message("lobby", 6)
        await (peer.cut() if code is None else peer.close(code))
        peer = await again(server, 6)
        await peer.message("lobby", 7)
        assert await offsets(client, 2) == [6, 7]


async def test_the_restart_hint_is_for_one_attempt() -> None:
    """Exactly so long, then backoff as usual."""
    naps = Naps()
    async with talking(sleep=naps) as (server, _, peer):
        server.refusals += [(503, {}, "")] * 2
        await peer.close(1012, '{"reason":"restart","retry_ms":742}')
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
    async with talking(sleep=naps, clock=lambda: now) as (server, client, peer):
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
        while not peer.connection.state.name == "OPEN":
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
        await peer.say("presence", who="x")
        await peer.message("lobby", 6)
        assert await offsets(client, 1) == [6]
        assert "presence" in caplog.text


async def test_a_frame_that_is_too_large() -> None:
    """The client ends it with 1009 and does not ask for it again and again."""
    async with talking(max_frame_bytes=1000) as (server, client, peer):
        await peer.message("lobby", 6, "x" * 2000)
        with pytest.raises(ClosedError) as caught:
            await anext(client)
        assert caught.value.code == 1009
        assert len(server.requests) == 1


async def flood(peer: Peer, first: int, last: int, characters: int = 1000) -> None:
    for offset in range(first, last + 1):
        await peer.message("lobby", offset, "x" * characters)


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
    async with talking() as (server, client, peer):
        asking = asyncio.create_task(client.subscribe("other"))
        await peer.hear()
        await peer.subscribed("other", "o", 0)
        await asking
        await peer.cut()
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
    async with talking() as (server, client, peer):
        asking = asyncio.create_task(client.subscribe("other"))
        await peer.hear()
        await peer.subscribed("other", "o", 0)
        await asking
        await peer.message("lobby", 6)
        await peer.message("other", 1)
        await until(lambda: len(client._mailbox) == 2)
        await client.unsubscribe("lobby")
        assert await peer.hear() == {"op": "unsubscribe", "channel": "lobby"}
        await peer.message("lobby", 7)
        await peer.say("unsubscribed", channel="lobby")
        await peer.message("other", 2)
        assert [(await anext(client)).channel for _ in range(2)] == ["other", "other"]
        await peer.cut()
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


async def test_no_server_at_all() -> None:
    """The error says what the last attempt said, and that nothing was published."""
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        url = f"ws://127.0.0.1:{placeholder.getsockname()[1]}/ws"
    async with client_for(url, acknowledge_seconds=0.2) as client:
        with pytest.raises(NotConnectedError, match="cannot connect"):
            await client.publish("lobby", "x")


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


async def test_closing_ends_the_iteration_quietly() -> None:
    """Whoever iterates is done, whoever waits for an answer hears of it, and nothing can be begun."""
    async with talking() as (server, client, peer):
        reading = asyncio.create_task(anext(client, None))
        asking = asyncio.create_task(client.subscribe("other"))
        publication, up = await publishing(server, client)
        await up.hear()
        await peer.hear()
        await client.close()
        assert await reading is None
        with pytest.raises(ClosedError):
            await asking
        with pytest.raises(UnconfirmedError):
            await publication
        for attempt in (client.subscribe("third"), client.publish("lobby", "x")):
            with pytest.raises(ClosedError, match="closed by this client"):
                await attempt
        assert [message async for message in client] == []
        assert client.state is State.CLOSED
        assert peer.connection.protocol.close_code == 1000
        await client.close()


async def test_closing_with_a_full_queue() -> None:
    """The closing handshake goes through, although nobody read."""
    async with talking(queue_messages=10, close_seconds=60) as (_, client, peer):
        flooding = asyncio.create_task(flood(peer, 6, 2005, 10_000))
        await until(lambda: len(client._mailbox) == 10)
        await client.close()
        assert peer.connection.protocol.close_code == 1000
        await asyncio.wait([flooding])
        assert flooding.exception() is not None


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


async def test_closing_what_was_never_used() -> None:
    """No connection is opened that nobody needs."""
    async with scripted() as server:
        async with client_for(server.url) as client:
            assert client.state is State.IDLE
        assert server.requests == []


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


async def test_a_program_that_fails_in_on_gap_hears_of_it() -> None:
    """The iteration raises what it raised."""

    def fail(_gap: Gap) -> None:
        raise LookupError("gap")

    async with talking(on_gap=fail) as (_, client, peer):
        await peer.message("lobby", 7)
        with pytest.raises(LookupError):
            await anext(client)
        assert await offsets(client, 1) == [7]


async def test_options_that_cannot_work_are_heard_of(caplog: pytest.LogCaptureFixture) -> None:
    """What the library raises for them reaches the caller instead of being tried again for ever."""
    async with scripted() as server, client_for(server.url, ssl=ssl.create_default_context()) as client:
        with pytest.raises(ValueError, match="ssl argument"):
            await client.subscribe("lobby")
    assert "ended unexpectedly" in caplog.text
    async with client_for("http://127.0.0.1/ws") as client:
        with pytest.raises(RefusedError, match="isn't a valid URI"):
            await client.publish("lobby", "x")


async def test_the_key_goes_into_the_handshake() -> None:
    """Beside the program's own headers, and not into the URL."""
    async with (
        scripted() as server,
        client_for(server.url, api_key="s3cret", additional_headers={"X-Trace": "1"}) as client,
    ):
        await subscribed(server, client)
        headers = server.requests[0].headers
        assert (headers["Authorization"], headers["X-Trace"]) == ("Bearer s3cret", "1")
        assert headers.get("Sec-WebSocket-Extensions") is None
        assert server.requests[0].path == "/ws"


@pytest.mark.parametrize("api_key", ["", "a b", "a\r\nX: y", "\u00e9"])
async def test_a_key_that_cannot_stand_in_a_header(api_key: str) -> None:
    """It is refused where it is given."""
    with pytest.raises(ValueError, match="API key"):
        client_for("ws://127.0.0.1/ws", api_key=api_key)


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


class Ledger:
    """What a program got of a channel, and whether it tiles the channel's logs."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []  # (epoch, first, last), messages and gaps, in order
        self.messages: dict[tuple[str, int], Any] = {}
        self.reasons: set[str] = set()

    def gap(self, gap: Gap) -> None:
        self.seen.append((gap.epoch, gap.first, gap.last))
        self.reasons.add(gap.reason)

    def message(self, message: Message) -> None:
        self.seen.append((message.epoch, message.offset, message.offset))
        assert (message.epoch, message.offset) not in self.messages
        self.messages[message.epoch, message.offset] = message.data

    def check(self, begin: Position, end: Position) -> None:
        """Without hole or overlap from `begin` to `end`, in each log that was read in between."""
        epoch, offset = begin
        for told, first, last in self.seen:
            assert first == (offset + 1 if told == epoch else 1), self.seen
            assert last >= first - 1
            epoch, offset = told, last
        assert (epoch, offset) == end


@pytest.mark.parametrize("seed", range(12))
async def test_cut_again_and_again(seed: int) -> None:
    """Connections are cut at random, logs forget and are replaced, two clients publish: messages and gaps tile the logs."""
    async with unreliable(seed) as server, client_for(server.url) as writer:
        ledger = Ledger()
        async with client_for(server.url, on_gap=ledger.gap, queue_messages=7) as reader:
            begin = await reader.subscribe("lobby")

            async def read() -> None:
                async for message in reader:
                    ledger.message(message)
                    if message.data == "end":
                        return

            reading = asyncio.create_task(read())
            confirmed: dict[Position, int] = {}
            doubtful = []
            for number in range(400):
                try:
                    confirmed[await writer.publish("lobby", number)] = number
                except UnconfirmedError:
                    doubtful.append(number)
                server.misbehave()
            server.reliable = True
            end = await writer.publish("lobby", "end")
            await reading
            ledger.check(begin, end)
            assert reader.positions == {"lobby": end}
        assert server.cuts > 10
        assert "unknown" not in ledger.reasons
        for (epoch, offset), data in ledger.messages.items():
            assert server.logs["lobby", epoch][offset - 1] == data
        published = [data for log in server.logs.values() for data in log]
        assert len(published) == len(set(published))  # nobody published anything twice
        assert set(published) - {"end"} >= set(confirmed.values())
        assert set(published) <= {*confirmed.values(), *doubtful, "end"}
        for position, number in confirmed.items():
            assert server.logs["lobby", position.epoch][position.offset - 1] == number


def test_the_client_needs_nothing_of_the_servers_side() -> None:
    """What it imports of ours is its own parts and the leaves; FastAPI and uvicorn are none of them."""
    ours, foreign, todo = set(), set(), ["client"]
    while todo:
        module = todo.pop()
        ours.add(module)
        for node in ast.walk(ast.parse((ROOT / "server" / f"{module}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level and node.module not in ours:
                todo.append(str(node.module))
            elif isinstance(node, ast.ImportFrom) and not node.level:
                foreign.add(str(node.module).partition(".")[0])
            elif isinstance(node, ast.Import):
                foreign |= {alias.name.partition(".")[0] for alias in node.names}
    assert ours == {"client", "uplink", "downlink", "link", "tracking", "wire", "backoff", "publication", "errors"}
    assert not foreign & {"fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings", "click"}
