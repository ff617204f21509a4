from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest

from fanwise.app import create_app
from fanwise.client.client import Direct, FanwiseClient, Gap, Message, Position, State
from fanwise.client.errors import ClosedError, PublishError, RefusedError, SubscribeError, UnconfirmedError
from fanwise.settings import load_settings

from ..support.live import running, until
from ..support.processes import ROOT
from ..support.relay import relaying
from ..support.scripted import again, client_for, offsets, publishing, scripted, subscribed, talking, unreliable

pytestmark = pytest.mark.anyio


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
    async with talking() as (server, client, first):
        asking = asyncio.create_task(client.subscribe("other"))
        await first.hear()
        await first.subscribed("other", "o", 0)
        await asking
        await first.message("lobby", 6)
        await first.message("lobby", 7)
        await until(lambda: len(client._mailbox) == 2)
        await first.cut()
        peer = await again(server, 7)
        assert await peer.hear() == {"op": "subscribe", "channel": "other", "since": {"epoch": "o", "offset": 0}}
        await peer.subscribed("other", "o", 0, recovered=True)
        for offset in (6, 7, 8):
            await peer.message("lobby", offset)
        await peer.message("other", 1)
        assert await offsets(client, 4) == [6, 7, 8, 1]


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
            seen += [(await anext(client)).offset]
        assert seen == [6, Gap("lobby", "e", 7, 9, "slow"), 10, Gap("lobby", "e", 11, 11, "unknown"), 12]


async def test_gaps_are_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has to ask."""
    async with talking() as (_, client, peer):
        await peer.say("gap", channel="lobby", epoch="e", reason="slow", **{"from": 6, "to": 9})
        await peer.message("lobby", 10)
        await anext(client)
        assert "lobby: 6 to 9 are missing of log e (slow)" in caplog.text


async def test_a_server_that_lost_its_log() -> None:
    """The new epoch is told as a gap, and its messages begin at 1 again."""
    gaps: list[Gap] = []
    async with talking(on_gap=gaps.append) as (server, client, first):
        await first.cut()
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


async def test_closing_hands_out_no_more() -> None:
    """What waits is not lost either: the positions say that the program does not have it."""
    async with talking() as (_, client, peer):
        await peer.message("lobby", 6)
        await peer.message("lobby", 7)
        await until(lambda: len(client._mailbox) == 2)
        assert await offsets(client, 1) == [6]
        await client.close()
        assert [message async for message in client] == []
        assert client.positions == {"lobby": Position("e", 6)}


async def test_closing_what_was_never_used() -> None:
    """No connection is opened that nobody needs."""
    async with scripted() as server:
        async with client_for(server.url) as client:
            assert client.state is State.IDLE
        assert server.requests == []


async def test_a_program_that_fails_in_on_gap_hears_of_it() -> None:
    """The iteration raises what it raised."""

    def fail(_gap: Gap) -> None:
        raise LookupError("gap")

    async with talking(on_gap=fail) as (_, client, peer):
        await peer.message("lobby", 7)
        with pytest.raises(LookupError):
            await anext(client)
        assert await offsets(client, 1) == [7]


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


async def test_where_a_subscription_begins() -> None:
    """So many messages before the head, and after a loss where it was: the number is for the beginning alone."""
    async with scripted() as server, client_for(server.url) as client:
        asking = asyncio.create_task(client.subscribe("lobby", last=2))
        peer = await server.accept()
        assert await peer.hear() == {"op": "subscribe", "channel": "lobby", "last": 2}
        await peer.subscribed("lobby", "e", 3)
        assert await asking == Position("e", 3)
        await peer.cut()
        peer = await again(server, 3)
        await peer.message("lobby", 4)
        assert await offsets(client, 1) == [4]
        with pytest.raises(SubscribeError, match="since and last"):
            await client.subscribe("other", since=Position("e", 1), last=2)


async def test_what_a_filter_leaves_out() -> None:
    """Is no gap, but what the server says is missing is one, and so is another log; tags come with the messages."""
    gaps: list[Gap] = []
    async with scripted() as server, client_for(server.url, on_gap=gaps.append) as client:
        asking = asyncio.create_task(client.subscribe("lobby", filter={"symbol": "EUR"}))
        peer = await server.accept()
        asked = {"op": "subscribe", "channel": "lobby", "filter": {"symbol": "EUR"}}
        assert await peer.hear() == asked
        await peer.subscribed("lobby", "e", 5)
        await asking
        await peer.say("message", channel="lobby", offset=9, data=1, tags={"symbol": "EUR"})
        assert await anext(client) == Message("lobby", "e", 9, 1, None, {"symbol": "EUR"})
        await peer.say("gap", channel="lobby", epoch="e", reason="slow", **{"from": 12, "to": 20})
        await peer.message("lobby", 30)
        assert await offsets(client, 1) == [30]
        await peer.cut()
        peer = await server.accept()
        assert await peer.hear() == {**asked, "since": {"epoch": "e", "offset": 30}}
        await peer.subscribed("lobby", "f", 7)
        await peer.message("lobby", 9)
        assert await offsets(client, 1) == [9]
        assert gaps == [Gap("lobby", "e", 12, 20, "slow"), Gap("lobby", "f", 1, 0, "unknown")]


async def test_a_message_to_one_client() -> None:
    """Told between the others; without a function it is nobody's."""
    seen: list[object] = []
    async with talking(on_direct=seen.append) as (_, client, peer):
        await peer.message("lobby", 6)
        await peer.say("direct", data={"a": 1})
        await peer.message("lobby", 7)
        seen += await offsets(client, 1)
        seen += await offsets(client, 1)
        assert seen == [6, Direct({"a": 1}), 7]


async def test_a_subscription_that_the_server_ends() -> None:
    """As after a token without the right: told once, and the other channels go on."""
    async with talking() as (_, client, peer):
        await peer.message("lobby", 6)
        assert await offsets(client, 1) == [6]
        await peer.say("unsubscribed", channel="lobby")
        with pytest.raises(SubscribeError, match=r"no right to it any more \(forbidden\)"):
            await anext(client)
        asking = asyncio.create_task(client.subscribe("other"))
        assert await peer.hear() == {"op": "subscribe", "channel": "other"}
        await peer.subscribed("other", "o", 0)
        await asking
        assert list(client.positions) == ["other"]


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


async def read(client: FanwiseClient, ledger: Ledger) -> None:
    async for message in client:
        ledger.message(message)
        if message.data == "end":
            return


async def publish_all(
    client: FanwiseClient, numbers: Iterable[int], between: Callable[[], None] = lambda: None
) -> tuple[dict[Position, int], list[int]]:
    """Those that were confirmed by their positions, and those of which nobody knows."""
    confirmed, doubtful = {}, []
    for number in numbers:
        try:
            confirmed[await client.publish("lobby", number)] = number
        except UnconfirmedError:
            doubtful.append(number)
        between()
    return confirmed, doubtful


@pytest.mark.parametrize("seed", range(12))
async def test_cut_again_and_again(seed: int) -> None:
    """Connections are cut at random, logs forget and are replaced: messages and gaps tile the logs."""
    async with unreliable(seed) as server, client_for(server.url) as writer:
        ledger = Ledger()
        async with client_for(server.url, on_gap=ledger.gap, queue_messages=7) as reader:
            begin = await reader.subscribe("lobby")

            reading = asyncio.create_task(read(reader, ledger))
            confirmed, doubtful = await publish_all(writer, range(400), server.misbehave)
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


@pytest.mark.parametrize("seed", range(6))
async def test_cut_again_and_again_in_front_of_a_real_server(seed: int) -> None:
    """In the middle of frames, of handshakes and of answers: nothing is lost, nothing comes twice."""
    app = create_app(load_settings())
    ledger = Ledger()
    async with running(app) as live, relaying(live.port, Random(seed)) as cutter, client_for(cutter.url) as writer:
        async with client_for(cutter.url, on_gap=ledger.gap, queue_messages=7) as reader:
            begin = await reader.subscribe("lobby")
            reading = asyncio.create_task(read(reader, ledger))
            confirmed, doubtful = await publish_all(writer, range(400))
            cutter.reliable = True
            end = await writer.publish("lobby", "end")
            await reading
            ledger.check(begin, end)
        assert cutter.cuts > 5
        assert ledger.reasons == set()
        got = list(ledger.messages.values())
        assert len(got) == len(set(got)) == end.offset
        assert {*confirmed.values(), "end"} <= set(got) <= {*confirmed.values(), *doubtful, "end"}
        for (epoch, offset), data in ledger.messages.items():
            assert confirmed.get(Position(epoch, offset), data) == data


async def test_a_real_server_from_end_to_end() -> None:
    """Payloads of all kinds, keys, many channels, resuming from a stored position, and from one that is no more."""
    gaps: list[Gap] = []
    async with running(create_app(load_settings())) as live:
        url = f"ws://127.0.0.1:{live.port}/ws"
        async with client_for(url, on_gap=gaps.append) as client:
            for number in range(20):
                await client.subscribe(f"c/{number}")
            payloads = ["text", {"a": [1, None]}, 7, b"\x00\xff", None, "\u00e9"]
            positions = [await client.publish("c/3", payload, key="k") for payload in payloads]
            got = [await anext(client) for _ in payloads]
            assert [message.data for message in got] == payloads
            assert [message.position for message in got] == positions
            assert {message.key for message in got} == {"k"}
            stored = got[2].position
        async with client_for(url, on_gap=gaps.append) as client:
            assert await client.subscribe("c/3", since=stored) == stored
            assert await offsets(client, 3) == [4, 5, 6]
            await client.unsubscribe("c/3")
            assert gaps == []
            await client.subscribe("c/3", since=Position("gone", 5))
            assert await offsets(client, 6) == [1, 2, 3, 4, 5, 6]
            await client.unsubscribe("c/3")
            await client.subscribe("c/3", since=Position(stored.epoch, 50))
            assert await offsets(client, 6) == [1, 2, 3, 4, 5, 6]
        assert gaps == [Gap("c/3", stored.epoch, 1, 0, "epoch")] * 2


async def test_a_real_server_refuses() -> None:
    """A key, a limit and a path that does not exist."""
    settings = load_settings(api_key="s3cret-key", max_subscriptions=1)
    async with running(create_app(settings)) as live:
        url = f"ws://127.0.0.1:{live.port}/ws"
        async with client_for(url) as client:
            await client.subscribe("a")
            with pytest.raises(SubscribeError, match="too_many_subscriptions"):
                await client.subscribe("b")
            with pytest.raises(PublishError, match="unauthorised"):
                await client.publish("a", "x")
        async with client_for(url, api_key="s3cret-key") as client:
            assert (await client.publish("a", "x")).offset == 1
        async with client_for(url + "/nowhere") as client:
            with pytest.raises(RefusedError):
                await client.subscribe("a")


def test_the_client_needs_nothing_of_the_servers_side() -> None:
    """What it imports of ours is its own parts and the leaves; FastAPI and uvicorn are none of them."""
    package = ROOT / "server" / "fanwise"
    ours, foreign, todo = set(), set(), [package / "client" / "client.py"]
    while todo:
        module = todo.pop()
        ours.add(module.relative_to(package).with_suffix("").as_posix())
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                todo.append(module.parents[node.level - 1].joinpath(*str(node.module).split(".")).with_suffix(".py"))
            elif isinstance(node, ast.ImportFrom) and not node.level:
                foreign.add(str(node.module).partition(".")[0])
            elif isinstance(node, ast.Import):
                foreign |= {alias.name.partition(".")[0] for alias in node.names}
    parts = {"client", "uplink", "downlink", "link", "subscription", "codec", "backoff", "errors", "batch"}
    parts |= {"authentication", "tokens", "presence", "fields"}
    assert ours == {f"client/{part}" for part in parts} | {"core/publication", "core/filters", "errors"}
    assert not foreign & {"fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings", "click"}
