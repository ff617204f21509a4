from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosedError

from fanwise import Broadcaster, testing
from fanwise.broadcaster.client import State
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.outbox import UNREAD_BYTES
from fanwise.broadcaster.turns import SharedTurn
from fanwise.core.reasons import CloseReason
from fanwise.routes.auth.guards import Access
from fanwise.routes.json_models import Answer
from fanwise.routes.json_size import LARGE_BYTES
from fanwise.routes.router import build_door, build_router
from fanwise.transport.limits import Limits

from ..support.live import Live, app_of, handshake, running, until

pytestmark = pytest.mark.anyio

FAST = pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
ANSWER: TypeAdapter[object] = TypeAdapter(Answer)


@asynccontextmanager
async def serving(
    broadcaster: Node,
    *,
    fast: bool = True,
    max_subscriptions: int = 100,
    heartbeat_seconds: float = 15.0,
    access: Access | None = None,
    limits: Limits | None = None,
    door: bool = False,
) -> AsyncIterator[Live]:
    router = build_router(
        broadcaster, max_subscriptions=max_subscriptions, heartbeat_seconds=heartbeat_seconds, access=access
    )
    entrance = build_door(broadcaster, router) if door else None
    async with running(app_of(router), fast=fast, limits=limits, door=entrance, ping_seconds=heartbeat_seconds) as live:
        yield live


@FAST
async def test_one_connection_many_channels(fast: bool) -> None:
    """Step by step: welcome, subscribe, publish, leave one channel and stay on the other."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live, await live.talk() as talk:
        assert talk.websocket.subprotocol == "fanwise.v1"
        assert (talk.welcome["op"], talk.welcome["max_message_bytes"]) == ("welcome", 65_536)
        for name in "ab":
            answer = await talk.ask(op="subscribe", channel=name)
            assert (answer["op"], answer["channel"], answer["offset"], answer["recovered"]) == (
                "subscribed",
                name,
                0,
                False,
            )
        await talk.say(op="publish", channel="a", data={"n": [1, None]}, id="x", key="k")
        heard = sorted([await talk.hear(), await talk.hear()], key=lambda one: str(one["op"]))
        assert heard[0] == {"op": "message", "channel": "a", "offset": 1, "data": {"n": [1, None]}, "key": "k"}
        assert (heard[1]["op"], heard[1]["id"], heard[1]["offset"]) == ("published", "x", 1)
        assert await talk.ask(op="unsubscribe", channel="a") == {"op": "unsubscribed", "channel": "a"}
        await broadcaster.publish("a", "not for us")
        await broadcaster.publish("b", "for us")
        assert (await talk.hear())["data"] == "for us"


@FAST
async def test_all_kinds_of_payloads_reach_both_dialects(fast: bool) -> None:
    """A string is text, JSON is JSON and its text, bytes are bytes and base64."""
    broadcaster = Node()
    async with (
        serving(broadcaster, fast=fast) as live,
        await live.connect("/ws?channel=a") as plain,
        await live.talk() as talk,
    ):
        await talk.ask(op="subscribe", channel="a")
        for op, told in (
            ({"data": "zwölf"}, "zwölf"),
            ({"data": {"a": 1}}, '{"a":1}'),
            ({"data": None}, "null"),
            ({"data": base64.b64encode(b"\x00\xff").decode(), "encoding": "base64"}, b"\x00\xff"),
        ):
            await talk.say(op="publish", channel="a", **op)
            heard = {answer["op"]: answer for answer in (await talk.hear(), await talk.hear())}
            assert {name: heard["message"][name] for name in op} == op
            assert await plain.recv() == told


@FAST
async def test_bad_messages_are_answered_and_the_connection_lives(fast: bool) -> None:
    """Each with its code, and with the id and channel that it came with."""
    access = Access(api_key="correct-horse")
    key = {"X-API-Key": "correct-horse"}
    async with (
        serving(Node(max_channels=3), fast=fast, max_subscriptions=2, access=access) as live,
        await live.talk() as talk,
        await live.talk(additional_headers=key) as other,
    ):
        for name in "ab":
            await talk.ask(op="subscribe", channel=name)
        await other.ask(op="subscribe", channel="c")
        for code, op in (
            ("unknown_op", {"op": "dance"}),
            ("missing_field", {"op": "subscribe"}),
            ("unknown_field", {"op": "subscribe", "channel": "c", "sinc": 1}),
            ("wrong_type", {"op": "subscribe", "channel": 5}),
            ("already_subscribed", {"op": "subscribe", "channel": "a"}),
            ("too_many_subscriptions", {"op": "subscribe", "channel": "c"}),
            ("not_subscribed", {"op": "unsubscribe", "channel": "c"}),
            ("unauthorised", {"op": "publish", "channel": "a", "data": 1}),
        ):
            answer = await talk.ask(**op)
            assert (answer["op"], answer["code"]) == ("error", code)
            ANSWER.validate_python(answer)
        for code, op in (
            ("too_many_channels", {"op": "subscribe", "channel": "d"}),
            ("too_many_channels", {"op": "publish", "channel": "d", "data": 1, "id": 5}),
            ("bad_channel", {"op": "subscribe", "channel": "no good"}),
            ("bad_channel", {"op": "publish", "channel": "", "data": 1, "id": 5}),
            ("too_big", {"op": "publish", "channel": "c", "data": "x" * 65_537, "id": 5}),
            ("wrong_type", {"op": "publish", "channel": "c", "data": "?", "encoding": "base64", "id": 5}),
            ("wrong_type", {"op": "publish", "channel": "c", "data": 7, "encoding": "base64", "id": 5}),
        ):
            answer = await other.ask(**op)
            assert (answer["op"], answer["code"]) == ("error", code)
            assert answer.get("id") == op.get("id")
            assert answer.get("channel") == (None if code == "bad_channel" else op["channel"])
            ANSWER.validate_python(answer)
        await other.websocket.send("{")
        assert (await other.hear())["code"] == "bad_json"
        await other.websocket.send(b"{}")
        assert (await other.hear())["code"] == "bad_json"
        assert (await other.ask(op="unsubscribe", channel="c"))["op"] == "unsubscribed"


async def test_deep_json_is_an_answer_and_no_crash() -> None:
    """What can be parsed need not be something that can be written."""
    async with serving(Node()) as live, await live.talk() as talk:
        await talk.websocket.send('{"op":"publish","channel":"a","data":' + "[" * 900 + "]" * 900 + "}")
        assert (await talk.hear())["code"] == "wrong_type"


@FAST
async def test_resuming_gets_what_was_missed_and_then_what_comes(fast: bool) -> None:
    """Exactly once, without a gap, and with the position that was asked for."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live:
        for number in range(1, 11):
            last = await broadcaster.publish("a", str(number))
        async with await live.talk() as talk:
            since = {"epoch": last.epoch, "offset": 4}
            answer = await talk.ask(op="subscribe", channel="a", since=since)
            assert answer == {"op": "subscribed", "channel": "a", **since, "recovered": True}
            await broadcaster.publish("a", "11")
            assert [(await talk.hear())["data"] for _ in range(7)] == [str(number) for number in range(5, 12)]


@FAST
async def test_what_is_not_retained_is_one_gap(fast: bool) -> None:
    """Because the log does not reach back, or because it is another log; then everything that there is."""
    broadcaster = Node(queue_messages=3, history_messages=3)
    async with serving(broadcaster, fast=fast) as live:
        for number in range(1, 129):
            last = await broadcaster.publish("a", str(number))
        first = next(broadcaster.inspect.channels())
        retained = first.retained
        for since, begin, gap in (
            ({"epoch": last.epoch, "offset": 7}, 7, {"from": 8, "to": 128 - retained, "reason": "history"}),
            ({"epoch": "other", "offset": 7}, 0, {"from": 1, "to": 128 - retained, "reason": "epoch"}),
        ):
            async with await live.talk() as talk:
                answer = await talk.ask(op="subscribe", channel="a", since=since)
                assert (answer["epoch"], answer["offset"], answer["recovered"]) == (last.epoch, begin, False)
                assert await talk.hear() == {"op": "gap", "channel": "a", "epoch": last.epoch, **gap}
                heard = [(await talk.hear())["offset"] for _ in range(retained)]
                assert heard == list(range(129 - retained, 129))


async def test_a_wrong_key_is_refused_in_the_handshake() -> None:
    """And no key at all only keeps from publishing."""
    async with serving(Node(), access=Access(api_key="correct-horse")) as live:
        with pytest.raises(Exception, match="401"):
            await live.talk(additional_headers={"Authorization": "Bearer wrong"})
        async with await live.talk(additional_headers={"Authorization": "Bearer correct-horse"}) as talk:
            assert (await talk.ask(op="publish", channel="a", data=1))["op"] == "published"


@FAST
async def test_who_does_not_read_answers_is_not_asked_for_more(fast: bool) -> None:
    """What it is owed is bounded, and in the end it is a stalled client like any other."""
    broadcaster = Node(stall_seconds=0.6, close_seconds=0.2)
    loop = asyncio.get_running_loop()
    frame = masked(json.dumps({"op": "dance", "channel": "x" * 200}).encode())
    owed = []

    async def ask_and_ask(sock: socket.socket) -> None:
        while True:
            await loop.sock_sendall(sock, frame * 100)

    async with serving(broadcaster, fast=fast) as live:
        sock = await deaf(live)
        await until(lambda: len(broadcaster) == 1)
        (client,) = broadcaster._registry
        task = asyncio.create_task(ask_and_ask(sock))

        def closed() -> bool:
            owed.append(client.sink.buffered_bytes + client.outbox._answer_bytes)  # which nothing makes less
            return client.state is State.CLOSED

        await until(closed)
        task.cancel()
        await asyncio.wait({task})
        sock.close()
        assert client.reason is CloseReason.STALLED
        assert UNREAD_BYTES < max(owed) < UNREAD_BYTES + 400


@FAST
def test_slow_clients_are_told_their_gaps(fast: bool) -> None:
    """Under a policy that skips, each offset is either heard or told to be missing, in order."""
    broadcaster = Broadcaster(overflow="drop_oldest", queue_messages=5, history_messages=5)
    with testing.serving(app_of(broadcaster.router), broadcaster=broadcaster, plain_asgi=not fast) as server:
        hello = ['{"op":"subscribe","channel":"a"}']
        client = server.pausing_client(seconds=1, subprotocol="fanwise.v1", hello=hello)
        server.wait_until(lambda: bool(broadcaster.statistics().channels))
        server.burst_publisher(3000, size=5000, channel="a")
        server.run(broadcaster.publish("a", "end"))
        assert [client.receive_json(within_seconds=60)["op"] for _ in range(2)] == ["welcome", "subscribed"]
        covered, told = 0, 0
        while covered < 3001:
            heard = client.receive_json(within_seconds=60)
            first, last = (heard["from"], heard["to"]) if heard["op"] == "gap" else (heard["offset"],) * 2
            told += heard["op"] == "gap"
            assert first == covered + 1
            covered = last
        assert told > 0
        assert server.call(broadcaster.statistics).channels[0].skipped > 0


def masked(payload: bytes) -> bytes:
    """A text frame as a client sends it, with a mask of zeros."""
    assert 126 <= len(payload) < 65_536
    return b"\x81\xfe" + len(payload).to_bytes(2) + bytes(4) + payload


async def deaf(live: Live) -> socket.socket:
    """A client of the JSON dialect that never reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", live.port))
    request = handshake("/ws").replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: fanwise.v1\r\n\r\n")
    await loop.sock_sendall(sock, request)
    return sock


async def test_closing_says_why() -> None:
    """The operator's code is one that asks not to come back."""
    broadcaster = Node()
    async with serving(broadcaster) as live, await live.talk() as talk:
        assert broadcaster.close_client(talk.welcome["client"])
        with pytest.raises(ConnectionClosedError) as caught:
            await talk.hear()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4503


@FAST
async def test_what_is_asked_before_leaving_leaves_nothing_behind(fast: bool) -> None:
    """Subscriptions that are still in the inbox when the client has gone."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live:
        for _ in range(20):
            talk = await live.talk()
            for number in range(50):
                await talk.say(op="subscribe", channel=f"channel-{number}", since={"epoch": "e", "offset": 1})
            talk.websocket.transport.abort()
        await until(lambda: len(broadcaster) == 0)
        await until(lambda: not live.server.server_state.connections)
        await until(lambda: broadcaster._host is not None and not broadcaster._host.tasks)
        assert {channel.clients for channel in broadcaster.inspect.channels()} <= {0}


@pytest.mark.parametrize("op", ["publish", "subscribe"])
async def test_operations_beyond_the_rate_wait(op: str) -> None:
    """Two seconds' worth may come at once, and what follows waits for its turn; each has its answer."""
    limits = Limits(publishes_per_second=40, subscriptions_per_second=40)
    async with serving(Node(), limits=limits) as live, await live.talk() as talk:
        began = time.monotonic()
        for _ in range(60):
            if op == "publish":
                for _ in range(2):
                    assert (await talk.ask(op="publish", channel="a", data=1))["op"] == "published"
            else:
                assert (await talk.ask(op="subscribe", channel="a"))["op"] == "subscribed"
                assert (await talk.ask(op="unsubscribe", channel="a"))["op"] == "unsubscribed"
        seconds = time.monotonic() - began
    assert seconds > 0.5, "120 operations are one second's worth above the burst"


async def test_publishing_over_http_has_its_rate() -> None:
    """One by one or in a batch, whose entries count each."""
    limits = Limits(publishes_per_second=40)
    async with serving(Node(), limits=limits) as live:
        began = time.monotonic()
        batch = json.dumps([{"channel": "a", "data": 1}] * 120).encode()
        assert len((await live.request("POST", "/publish", batch)).json["results"]) == 120
        assert time.monotonic() - began > 0.5


async def test_large_json_waits_for_the_turn_that_all_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages and bodies above 8 KiB, when others have used the turn up; what comes behind one keeps its order."""
    waits = 0
    give_way = SharedTurn.give_way

    async def wait(turn: SharedTurn, seconds: float = 0.0) -> None:
        nonlocal waits
        waits += turn.over_for(seconds)
        await give_way(turn, seconds)

    monkeypatch.setattr(SharedTurn, "give_way", wait)
    monkeypatch.setattr(SharedTurn, "over_for", lambda _turn, _seconds: True)
    async with serving(Node(), door=True) as live, await live.talk() as talk:
        for number, size in enumerate((LARGE_BYTES, 10)):
            await talk.say(op="publish", channel="a", data="x" * size, id=number)
        assert [(await talk.hear())["id"] for _ in range(2)] == [0, 1]
        assert waits == 1
        small, large = b'"x"', b'"%b"' % (b"x" * LARGE_BYTES)
        entry = b'{"channel":"a","data":%b}'
        headers = {"Content-Type": "application/json"}
        for body, path, expected in (
            (small, "/publish/a", 0),
            (large, "/publish/a", 1),
            (b"[%b]" % (entry % small), "/publish", 1),  # of its entry
            (b"[%b]" % (entry % large), "/publish", 7),  # of five marks, its text and its entry
        ):
            waits = 0
            assert (await live.request("POST", path, body, headers=headers)).status == 200
            assert waits == expected


async def test_json_of_nothing_but_brackets_is_refused_everywhere() -> None:
    """In an operation, as a body and as an entry of a batch; what is text may be anything, and connections live."""
    data = b"[" + b"[[]]," * 12_000 + b"0]"
    async with serving(Node()) as live, await live.talk() as talk:
        await talk.websocket.send(b'{"op":"publish","channel":"a","data":%b}' % data, text=True)
        assert (await talk.hear())["code"] == "too_big"
        assert (await talk.ask(op="publish", channel="a", data=data.decode()))["op"] == "published"
        json_type = {"Content-Type": "application/json"}
        for path, body in (("/publish/a", data), ("/publish", b'[{"channel":"a","data":%b}]' % data)):
            answer = await live.request("POST", path, body, headers=json_type)
            assert (answer.status, answer.code) == (413, "too_big")
        assert (await live.request("POST", "/publish/a", data, headers={"Content-Type": "text/plain"})).status == 200
