"""Connections before their first request, through our acceptor."""

from __future__ import annotations

import asyncio
import socket
import struct
from binascii import b2a_base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from fanwise.app import create_app, door_of
from fanwise.settings import load_settings
from fanwise.transport import newcomer
from fanwise.transport.fair_share import FRAMES_A_TURN
from fanwise.transport.handshakes import KEY_CHARS, KEY_FIELD, Handshake, accept_value, read_handshake
from fanwise.transport.http_protocol import FanwiseHttpProtocol
from fanwise.transport.limits import Limits
from fanwise.transport.newcomer import FIRST_FRAMES, PLAN_BYTES, Arrival
from fanwise.transport.socket_sink import LEAVE_FRAMES, LOST_FRAMES
from fanwise.transport.sockets import READ_BYTES

from ..support.live import Live, handshake, running, until

pytestmark = pytest.mark.anyio
PLAIN = handshake("/ws")
END = b"\r\n\r\n"
KEYS = [b2a_base64(bytes([number]) * 16, newline=False) for number in range(3)]
RESET = struct.pack("ii", 1, 0)  # SO_LINGER (socket(7)): close sends a reset


@asynccontextmanager
async def server(*, head_seconds: float = 10.0) -> AsyncIterator[Live]:
    app = create_app(load_settings())
    async with running(app, door=door_of(app), ours=True, limits=Limits(head_seconds=head_seconds)) as live:
        yield live


def kinds(live: Live) -> set[str]:
    return {type(one).__name__ for one in live.server.server_state.connections}


@pytest.mark.parametrize("at", [1, PLAIN.index(b"\r\n"), len(PLAIN) - 1])
async def test_a_handshake_in_two_pieces_is_put_together(at: int) -> None:
    """By uvicorn's protocol class, which gets the connection with the first of them."""
    async with server() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        await until(lambda: kinds(live) == {"Newcomer"})
        writer.write(PLAIN[:at])
        await until(lambda: kinds(live) == {"HttpProtocol"})
        writer.write(PLAIN[at:])
        assert b" 101 " in await reader.readuntil(END)
        assert kinds(live) == {"WebSocketConnection"}
        writer.close()


async def test_a_handshake_changes_the_protocol_and_not_the_object() -> None:
    """The event loop is not given another one: that would stop reading, and start it again."""
    async with server() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        await until(lambda: kinds(live) == {"Newcomer"})
        (one,) = live.server.server_state.connections
        writer.write(PLAIN)
        assert b" 101 " in await reader.readuntil(END)
        assert kinds(live) == {"WebSocketConnection"}
        assert [*live.server.server_state.connections] == [one]
        writer.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The heads that were read, in their order."""
    seen: list[bytes] = []

    def note(data: bytes, **given: Any) -> Handshake | None:
        seen.append(data)
        return read_handshake(data, **given)

    monkeypatch.setattr(newcomer, "read_handshake", note)
    return seen


async def answer(live: Live, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(data)
    head = await reader.readuntil(END)
    writer.close()
    return head


def head(key: bytes, more: bytes = b"") -> bytes:
    """A plain handshake with that key."""
    before, field, after = PLAIN.partition(KEY_FIELD)
    return before + field + key + after[KEY_CHARS:].removesuffix(END) + more + END


async def test_of_equal_heads_only_the_key_is_looked_at(read: list[bytes]) -> None:
    """Each key gets its own answer. One that is none goes the long way, as it does in a head that is new."""
    async with server() as live:
        for key in KEYS:
            assert b"Sec-WebSocket-Accept: %s\r\n" % accept_value(key) in await answer(live, head(key))
        assert b" 400 " in await answer(live, head(b"!" * KEY_CHARS))
        assert read == [head(KEYS[0])]


@pytest.mark.parametrize("more", [b"\r\nCookie: a=b", b"\r\nX-A: " + b"b" * PLAN_BYTES])
async def test_long_heads_and_secrets_are_not_kept(read: list[bytes], more: bytes) -> None:
    async with server() as live:
        for key in KEYS:
            assert b" 101 " in await answer(live, head(key, more))
        assert read == [head(key, more) for key in KEYS]


async def test_the_latest_heads_are_kept(read: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number of them."""
    monkeypatch.setattr(newcomer, "PLANS", 2)
    first, second, third = (head(KEYS[0], b"\r\nX-A: %d" % number) for number in range(3))
    async with server() as live:
        for one in (first, second, third, third, second, first):
            assert b" 101 " in await answer(live, one)
        assert read == [first, second, third, first]


async def test_asyncio_reads_64_kib_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fifty connections have sent is read in one turn: 13 MB with the 256 KiB of asyncio. uvloop has no bound."""
    sizes: list[int] = []
    take = FanwiseHttpProtocol.data_received

    def note(protocol: FanwiseHttpProtocol, data: bytes) -> None:
        sizes.append(len(data))
        take(protocol, data)

    monkeypatch.setattr(FanwiseHttpProtocol, "data_received", note)
    size = 1_000_000
    async with server() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        head = f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode()
        writer.write(head + bytes(size))
        assert b" 400 " in await reader.readuntil(END)
        assert sum(sizes) == len(head) + size
        assert max(sizes) <= READ_BYTES or not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop)
        writer.close()


async def test_a_connection_without_a_request_ends() -> None:
    """In time, without an answer; one with half a request is answered 408, and its time has begun with it."""
    async with server(head_seconds=0.2) as live:
        silent, one = await asyncio.open_connection("127.0.0.1", live.port)
        late, other = await asyncio.open_connection("127.0.0.1", live.port)
        other.write(PLAIN[:9])
        assert await silent.read() == b""
        assert b" 408 " in await late.read()
        await until(lambda: not live.server.server_state.connections)
        one.close()
        other.close()


async def test_one_that_leaves_is_forgotten() -> None:
    async with server() as live:
        _, writer = await asyncio.open_connection("127.0.0.1", live.port)
        await until(lambda: kinds(live) == {"Newcomer"})
        writer.close()
        await until(lambda: not live.server.server_state.connections)


async def test_a_stop_ends_those_that_have_not_asked() -> None:
    """At once."""
    async with server() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        await until(lambda: kinds(live) == {"Newcomer"})
        live.server.should_exit = True
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("request_", [PLAIN, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
async def test_a_turn_begins_with_a_few(monkeypatch: pytest.MonkeyPatch, request_: bytes) -> None:
    """However many send their first request at once: the loop turns between them."""
    begun, begin = 0, Arrival._begin

    def count(self: Arrival, data: bytes) -> None:
        nonlocal begun
        begun += 1
        begin(self, data)

    monkeypatch.setattr(Arrival, "_begin", count)
    async with server() as live:
        peers = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(60)]
        await until(lambda: len(live.server.server_state.connections) == len(peers))
        for peer in peers:
            peer.sendall(request_)
        turns: list[int] = []

        def turn() -> None:
            turns.append(begun)
            if begun < len(peers):
                asyncio.get_running_loop().call_soon(turn)

        turn()
        await until(lambda: begun == len(peers))
        most = FRAMES_A_TURN // FIRST_FRAMES
        assert (
            max(after - before for before, after in pairwise(turns)) <= 2 * most
        )  # of the turn that ends, and the next
        for peer in peers:
            peer.close()


async def test_what_comes_while_a_connection_waits_is_kept() -> None:
    """Bytes behind a handshake make it a request that is refused."""
    async with server() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        await until(lambda: kinds(live) == {"Newcomer"})
        one: Any = next(iter(live.server.server_state.connections))
        one.arrival._others.share.spend(FRAMES_A_TURN)
        one.data_received(PLAIN)
        one.data_received(b"x")
        assert kinds(live) == {"Newcomer"}
        assert b" 400 " in await reader.readuntil(END)
        writer.close()


@pytest.mark.parametrize(("linger", "frames"), [(None, LEAVE_FRAMES), (RESET, LOST_FRAMES)], ids=["end", "reset"])
async def test_those_who_leave_at_once_go_in_turns(linger: bytes | None, frames: int) -> None:
    """However many streams end or are reset in one turn: the loop turns between them, and all are gone in the end."""
    async with server() as live:
        connections = live.server.server_state.connections
        peers = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(100)]
        for peer in peers:
            peer.sendall(PLAIN)
        await until(lambda: len(live.websockets) == len(peers))
        for peer in peers:
            peer.recv(4096)  # with something unread, closing would send a reset
            if linger is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            peer.close()
        turns = [len(connections)]

        def turn() -> None:
            turns.append(len(connections))
            if connections:
                asyncio.get_running_loop().call_soon(turn)

        turn()
        await until(lambda: not connections)
        most = 2 * FRAMES_A_TURN // frames  # those of the turn that ends, and of the next
        assert max(before - after for before, after in pairwise(turns)) <= most


async def test_peers_that_are_lost_and_come_back_find_their_places_free() -> None:
    """The handshake of a peer waits behind the end of its lost connection, however many there are."""
    clients = 60
    app = create_app(load_settings(max_clients=clients))
    async with running(app, door=door_of(app), ours=True) as live:
        peers = [await live.raw("/ws") for _ in range(clients)]
        for peer in peers:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
        for peer in [await live.raw("/ws") for _ in range(clients)]:
            peer.close()
