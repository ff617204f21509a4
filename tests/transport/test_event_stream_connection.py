"""An event stream without a task: how it ends, and what it sends beside publications."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fanwise.broadcaster.node import Node
from fanwise.core.reasons import CloseReason
from fanwise.transport.event_stream_connection import EventStreamConnection

from ..routes.test_json_session import serving
from ..support.live import Live, until

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]
REQUEST = b"GET /sse/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@asynccontextmanager
async def stream(broadcaster: Node, *, receive_bytes: int | None = None) -> AsyncIterator[tuple[Live, socket.socket]]:
    """A server, and a peer that does what the test does with it."""
    peer = socket.socket()
    if receive_bytes is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    async with serving(broadcaster, door=True) as live:
        await loop.sock_connect(peer, ("127.0.0.1", live.port))
        await loop.sock_sendall(peer, REQUEST)
        await until(lambda: len(broadcaster) == 1)
        yield live, peer
    peer.close()


def connection(live: Live) -> EventStreamConnection:
    connections: set[Any] = live.server.server_state.connections
    (one,) = connections
    assert isinstance(one, EventStreamConnection)
    return one


async def read_all(peer: socket.socket) -> bytes:
    loop, found = asyncio.get_running_loop(), b""
    while data := await loop.sock_recv(peer, 65_536):
        found += data
    return found


async def test_the_last_event_is_followed_by_the_end_of_the_body() -> None:
    """Once, whatever is asked for later."""
    broadcaster = Node()
    async with stream(broadcaster) as (live, peer):
        one = connection(live)
        one.start_close(CloseReason.OPERATOR, "bye", within_seconds=5)
        one.start_close(CloseReason.SLOW, "again", within_seconds=5)
        one.shutdown()
        body = (await read_all(peer)).partition(b"\r\n\r\n")[2]
        assert body.count(b"event: close") == 1
        assert body.endswith(b"\n\n\r\n0\r\n\r\n")
        await until(lambda: not live.server.server_state.connections)
    assert broadcaster.statistics().closed == {"operator": 1}


@pytest.mark.parametrize("how", ["close", "reset", "half-close", "send"])
async def test_a_peer_that_has_had_enough_is_gone(how: str) -> None:
    """The connection, the client, and the timer of its end."""
    broadcaster = Node()
    async with stream(broadcaster) as (live, peer):
        if how == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how in ("close", "reset"):
            peer.close()
        elif how == "half-close":
            peer.shutdown(socket.SHUT_WR)
        else:
            await asyncio.get_running_loop().sock_sendall(peer, REQUEST)
        await until(lambda: not live.server.server_state.connections)
        assert len(broadcaster) == 0
    assert broadcaster.statistics().closed == {"lost": 1}


@pytest.mark.parametrize("way", ["close", "half-close"])
async def test_an_end_that_nobody_reads_is_forced(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """What is buffered would keep the connection for ever: it is aborted."""
    monkeypatch.setattr("fanwise.transport.socket_sink.CLOSE_SECONDS", 0.1)
    broadcaster = Node(queue_bytes=1 << 28, queue_messages=10_000, close_seconds=0.1)
    async with stream(broadcaster, receive_bytes=4_096) as (live, peer):
        one = connection(live)
        while not one.buffered_bytes:
            await broadcaster.publish("a", "x" * 60_000)
        if way == "close":
            one.start_close(CloseReason.OPERATOR, "", within_seconds=0.1)
        else:
            peer.shutdown(socket.SHUT_WR)
        await until(lambda: not live.server.server_state.connections)
    assert broadcaster.statistics().closed == {"operator" if way == "close" else "lost": 1}


async def test_a_comment_waits_for_nobody() -> None:
    """While something is buffered there is none, and a peer that acknowledges nothing is gone."""
    broadcaster = Node(queue_bytes=1 << 28, queue_messages=10_000)
    async with stream(broadcaster, receive_bytes=4_096) as (live, peer):
        one = connection(live)
        before = one.transport.get_write_buffer_size()
        one.ping(b"1")
        assert (one.asked, before, one.transport.get_write_buffer_size()) == (b"", 0, 0)
        while not one.buffered_bytes:
            await broadcaster.publish("a", "x" * 60_000)
        before = one.buffered_bytes
        one.ping(b"2")
        assert one.buffered_bytes == before
        peer.close()


async def test_messages_are_chunks() -> None:
    """Also those that come by `send`."""
    broadcaster = Node()
    async with stream(broadcaster) as (live, peer):
        one = connection(live)
        client = next(iter(broadcaster._registry))
        client.answer(b":1\n\n")
        await one.send([(b":2\n\n", False), (b":3\n\n", False)])  # type: ignore[list-item]
        assert one.taken == 2
        one.start_close(CloseReason.OPERATOR, "", within_seconds=5)
        assert b"4\r\n:1\n\n\r\n4\r\n:2\n\n\r\n4\r\n:3\n\n\r\n" in await read_all(peer)
