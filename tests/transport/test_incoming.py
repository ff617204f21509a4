"""Frames that floods are made of: what they cost, by counts, and that they mean what the library says."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import connect

from fanwise.transport.leased_transport import LeasedTransport
from fanwise.transport.limits import PONGS_AT_ONCE, Limits
from fanwise.transport.websocket_protocol import FanwiseProtocol

from ..support.live import echo, running, until

pytestmark = pytest.mark.anyio

MASK = bytes(4)
FIRST_FRAGMENT = b"\x01\x81" + MASK + b"a"
LAST_FRAGMENT = b"\x80\x81" + MASK + b"z"
FLOODS = {
    "pings": b"\x89\x80" + MASK,
    "pings of 125 bytes": b"\x89\xfd" + MASK + bytes(125),
    "pongs": b"\x8a\x80" + MASK,
    "empty fragments": b"\x00\x80" + MASK,
    "fragments of 1 byte": b"\x00\x81" + MASK + b"x",
}


class Counted:
    """Counts the calls of a method, which does what it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.calls = 0
        original = getattr(owner, name)

        def count(*args: Any) -> Any:
            self.calls += 1
            return original(*args)

        monkeypatch.setattr(owner, name, count)


async def receive(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await asyncio.get_running_loop().sock_recv(peer, size - len(data))
        assert more
        data += more
    return data


@pytest.mark.parametrize("name", FLOODS)
async def test_the_library_parses_none_of_a_flood(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """However many frames come, and whatever the reads are cut to."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(rates=False))
    asgi, broadcaster = echo()
    async with running(asgi) as live:
        peer = await live.raw()
        await until(lambda: len(broadcaster) == 1)
        parsed = Counted(monkeypatch, WebSocketsSansIOProtocol, "data_received")
        fragments = b"fragments" in name.encode()
        stream = FLOODS[name] * 3_000
        if fragments:
            stream = FIRST_FRAGMENT + stream + LAST_FRAGMENT
            expected = b"a" + b"x" * 3_000 + b"z" if FLOODS[name][1] == 0x81 else b"az"
        else:
            stream += b"\x81\x83" + MASK + b"end"
            expected = b"end"
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(peer, stream))
        await until_published(peer, expected)
        await sending
        assert parsed.calls == 0
        peer.close()


async def until_published(peer: socket.socket, text: bytes) -> None:
    """Reads until the text comes, behind any number of pongs."""
    while True:
        first, size = await receive(peer, 2)
        if size == 126:
            size = int.from_bytes(await receive(peer, 2))
        payload = await receive(peer, size) if size else b""
        if first == 0x81:
            assert payload == text
            return


async def test_the_pings_of_a_read_have_their_pongs_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own, in order, while they are within the rate."""
    asgi, broadcaster = echo()
    async with running(asgi) as live:
        peer = await live.raw()
        await until(lambda: len(broadcaster) == 1)
        writes = Counted(monkeypatch, LeasedTransport, "write")
        await asyncio.get_running_loop().sock_sendall(
            peer, b"".join([b"\x89\x82" + MASK + b"%02d" % number for number in range(PONGS_AT_ONCE)])
        )
        pongs = b"".join([b"\x8a\x02%02d" % number for number in range(PONGS_AT_ONCE)])
        assert await receive(peer, len(pongs)) == pongs
        assert writes.calls <= 2  # one, if the kernel has not cut it
        peer.close()


async def test_the_latest_ping_beyond_the_rate_is_answered() -> None:
    """RFC 6455 section 5.5.3; the others are not."""
    asgi, broadcaster = echo()
    async with running(asgi) as live:
        peer = await live.raw()
        await until(lambda: len(broadcaster) == 1)
        (protocol,) = live.websockets
        for _ in range(PONGS_AT_ONCE):
            protocol.budget.pong()
        pings = [b"\x89\x82" + b"\x01\x02\x03\x04" + bytes((0x30 ^ 1, number ^ 2)) for number in range(60)]
        await asyncio.get_running_loop().sock_sendall(peer, b"".join(pings))
        last = b"\x8a\x02" + bytes((0x30, 59))
        received = await receive(peer, len(last))
        while not received.endswith(last):
            received += await receive(peer, len(last))
        assert len(received) < len(last) * len(pings)
        peer.close()


async def test_small_fragments_end_at_the_largest_message() -> None:
    """With 1009, as larger ones do."""
    asgi, broadcaster = echo()
    async with running(asgi) as live:
        live.server.config.ws_max_size = 1_000
        peer = await live.raw()
        await until(lambda: len(broadcaster) == 1)
        fragment = b"\x00\xe4" + MASK + b"x" * 100
        await asyncio.get_running_loop().sock_sendall(peer, FIRST_FRAGMENT + fragment * 10)
        head = await receive(peer, 4)
        assert (head[0], int.from_bytes(head[2:])) == (0x88, 1009)
        peer.close()


async def test_fragments_of_a_compressed_message_are_decompressed() -> None:
    """Only the first frame of a message shows that it is compressed (RFC 7692 section 6.1)."""
    asgi, broadcaster = echo()
    async with running(asgi) as live:
        live.server.config.ws_per_message_deflate = True
        async with connect(f"ws://127.0.0.1:{live.port}/ws", proxy=None) as websocket:
            await until(lambda: len(broadcaster) == 1)
            for fragments in (["zwölf", "hundert", "x" * 50], [b"\xff", b"\x00\xfe"]):
                await websocket.send(fragments)
                assert await websocket.recv() == fragments[0][:0].join(fragments)  # type: ignore[arg-type]


async def test_a_pong_comes_before_the_answer_to_a_close() -> None:
    """Nothing follows a close frame (RFC 6455 section 5.5.1)."""
    asgi, broadcaster = echo()
    async with running(asgi) as live:
        peer = await live.raw()
        await until(lambda: len(broadcaster) == 1)
        await asyncio.get_running_loop().sock_sendall(peer, FLOODS["pings"] + b"\x88\x82" + MASK + b"\x03\xe8")
        assert await receive(peer, 6) == b"\x8a\x00\x88\x02\x03\xe8"
        peer.close()
