"""What a peer that sends too much, or too slowly, sees of its budget."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from fanwise import CloseReason
from fanwise.transport.limits import Limits
from fanwise.transport.websocket_connection import WebSocketConnection
from fanwise.transport.websocket_protocol import FanwiseProtocol

from ..support.live import echo, running, until

pytestmark = pytest.mark.anyio

FIRST_FRAGMENT = b"\x01\x81\x00\x00\x00\x00a"
FRAGMENT = b"\x00\x81\x00\x00\x00\x00a"
LAST_FRAGMENT = b"\x80\x80\x00\x00\x00\x00"
TEXT = b"\x81\x81\x00\x00\x00\x00a"
PING = b"\x89\x80\x00\x00\x00\x00"


async def closed(peer: ClientConnection) -> tuple[int, str]:
    """The close code and reason, after all messages."""
    with suppress(ConnectionClosed):
        async for _ in peer:
            pass
    assert peer.close_code is not None
    return peer.close_code, str(peer.close_reason)


def begun_at(connection: WebSocketConnection) -> float:
    """When its unfinished message has begun; 0 if there is none."""
    deadline = connection.incoming._deadline
    return 0.0 if deadline is None else deadline.begun_at


def send(peer: ClientConnection, data: bytes) -> None:
    peer.transport.write(data)


@pytest.mark.parametrize(
    "begun",
    [FIRST_FRAGMENT, TEXT[:-1], TEXT * 3 + TEXT[:3], TEXT + FIRST_FRAGMENT + FRAGMENT],
    ids=["a fragment", "a part of a frame", "a header behind messages", "fragments behind a message"],
)
async def test_a_message_that_is_not_ended_ends_the_connection(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    """After `message_seconds`, whatever else the peer sends, with 1008."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(message_seconds=0.2))
    asgi, _ = echo(queue_messages=100_000)
    async with running(asgi) as live, await live.connect() as peer:
        send(peer, begun)
        assert await closed(peer) == (1008, "rate: a message takes more than 0.2 s")


async def test_messages_that_end_in_time_never_end_the_connection() -> None:
    """However long the peer keeps sending them in parts: the clock starts anew with each."""
    asgi, _ = echo(queue_messages=100_000)
    async with running(asgi) as live, await live.connect() as peer:
        await until(lambda: bool(live.websockets))
        (protocol,) = live.websockets
        send(peer, TEXT[:3])
        begun = set[float]()
        while len(begun) < 5:  # every read ends inside of a frame
            send(peer, TEXT[3:] + FIRST_FRAGMENT + LAST_FRAGMENT + TEXT[:3])
            assert [await peer.recv(), await peer.recv()] == ["a", "a"]
            begun.add(begun_at(protocol))
            assert begun_at(protocol) == max(begun) > 0
        send(peer, TEXT[3:])
        assert await peer.recv() == "a"
        assert begun_at(protocol) == 0


async def test_a_peer_that_is_paused_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of its message waits in the kernel, because we do not read."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(message_seconds=0.05))
    asgi, _ = echo(queue_messages=100_000)
    loop = asyncio.get_running_loop()
    async with running(asgi) as live, await live.connect() as peer:
        await until(lambda: bool(live.websockets))
        (protocol,) = live.websockets
        send(peer, FIRST_FRAGMENT)
        await until(lambda: bool(protocol.incoming._fragments))
        protocol.transport.pause_reading()
        waited = loop.create_future()
        loop.call_later(0.3, waited.set_result, None)
        await waited
        send(peer, LAST_FRAGMENT)
        protocol.transport.resume_reading()
        assert await peer.recv() == "a"


async def test_a_message_of_too_many_fragments_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1009, and one with as many as are allowed arrives."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(fragments=10))
    asgi, broadcaster = echo(queue_messages=100_000)
    async with running(asgi) as live, await live.connect() as peer:
        send(peer, FIRST_FRAGMENT + FRAGMENT * 8 + LAST_FRAGMENT)
        assert await peer.recv() == "a" * 9
        send(peer, FIRST_FRAGMENT + FRAGMENT * 10)
        assert await closed(peer) == (1009, "message too big: it has more than 10 fragments")
        await until(lambda: broadcaster.statistics().closed == {"too_big": 1})


async def test_a_publisher_above_its_rate_is_slowed_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its messages arrive whole, in order and at the rate: it is held back, never closed."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(messages_per_second=500))
    asgi, _ = echo(queue_messages=100_000)
    loop = asyncio.get_running_loop()
    async with running(asgi) as live, await live.connect() as peer:
        texts = [f"{number:04}" for number in range(1500)]
        began = loop.time()
        send(peer, b"".join(b"\x81\x84\x00\x00\x00\x00" + text.encode() for text in texts))
        assert [await peer.recv() for _ in texts] == texts
        assert loop.time() - began > 0.5  # 1,000 at once, and 500 in a second


async def test_bytes_above_their_rate_are_slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few messages they are."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(bytes_per_second=500_000))
    asgi, _ = echo(queue_messages=100_000)
    loop = asyncio.get_running_loop()
    async with running(asgi) as live, await live.connect() as peer:
        began = loop.time()
        for _ in range(30):
            await peer.send("x" * 50_000)
        assert [len(await peer.recv()) for _ in range(30)] == [50_000] * 30
        assert loop.time() - began > 0.5


async def test_pings_beyond_their_rate_get_one_pong_for_all() -> None:
    """The latest, and none is lost: the connection lives on (RFC 6455 section 5.5.3)."""
    asgi, _ = echo(queue_messages=100_000)
    async with running(asgi) as live:
        peer = await live.raw()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, b"".join(b"\x89\x82\x00\x00\x00\x00%02x" % number for number in range(250)))
        got = b""
        while not got.endswith(b"\x8a\x02%02x" % 249):
            got += await loop.sock_recv(peer, 10_000)
        assert got[:400] == b"".join(b"\x8a\x02%02x" % number for number in range(100))
        assert len(got) // 4 < 150
        peer.close()


async def test_a_switch_takes_all_rates_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """For benchmarks on loopback: thousands of pings in a second are answered."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(rates=False))
    asgi, broadcaster = echo(queue_messages=100_000)
    async with running(asgi) as live:
        peer = await live.raw()
        loop, got = asyncio.get_running_loop(), 0
        sending = loop.create_task(loop.sock_sendall(peer, PING * 5000))
        while got < 2 * 5000:
            got += len(await loop.sock_recv(peer, 10_000))
        await sending
        assert CloseReason.RATE.name.lower() not in broadcaster.statistics().closed
        peer.close()


async def test_what_a_peer_does_not_finish_is_counted_until_it_does() -> None:
    """Large frames and fragments are: the audit knows of them, and forgets them with the message's end."""
    asgi, broadcaster = echo(queue_messages=100_000)
    async with running(asgi) as live, await live.connect() as peer:
        await until(lambda: len(broadcaster) == 1)
        (client,) = broadcaster._registry
        payload = b"x" * 100_000
        send(peer, b"\x01\xff" + len(payload).to_bytes(8) + b"\x00\x00\x00\x00" + payload)
        await until(lambda: client in broadcaster._registry.receiving)
        assert 100_000 <= client.received_bytes < 101_000
        send(peer, LAST_FRAGMENT)
        await until(lambda: client not in broadcaster._registry.receiving)
        assert client.received_bytes == 0
