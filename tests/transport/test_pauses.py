"""Pings and pauses on real sockets: where queues skip, a peer whose kernel answers stays, and a dead one goes."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fanwise import Broadcaster
from fanwise.broadcaster.client import Client
from fanwise.transport import keep_alive
from fanwise.transport.sockets import _TCP_RTO_MAX_MS

from ..support.live import echo, running, until
from .letter.wire import PING, PONG, frame

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux only"),
]

PONG_SECONDS = 0.2
ROUNDS = 4  # in which a pause is looked at; without forgiveness there is one
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it
_BPF_RETURN_0 = struct.pack("=HBBI", 6, 0, 0, 0)  # drops each packet (socket(7), linux/filter.h)


def vanish(peer: socket.socket) -> None:
    """Has the kernel of `peer` drop whatever comes for it, before TCP sees that: it answers nothing any more."""
    program = ctypes.create_string_buffer(_BPF_RETURN_0)
    peer.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


@asynccontextmanager
async def served(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[tuple[Broadcaster, Any]]:
    monkeypatch.setattr(keep_alive, "PONG_GRACE_SECONDS", 0.02)
    app, broadcaster = echo(**settings)
    async with running(app, ping_seconds=0.1, pong_seconds=PONG_SECONDS) as live:
        yield broadcaster, live


def unanswered(client: Client) -> Callable[[], bool]:
    """Whether the client's ping has waited for its pong for some rounds."""
    sink: Any = client.sink
    sink = getattr(sink, "_protocol", sink)
    return lambda: bool(sink.asked) and time.monotonic() - sink.asked_at > ROUNDS * PONG_SECONDS


def longest_wait_ms(sink: Any) -> int | None:
    """The time between two questions of the server's kernel, at most; None: this kernel cannot be told."""
    try:
        return sink.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS)  # type: ignore[no-any-return]
    except OSError:
        return None


async def read_pings(peer: socket.socket) -> bytes:
    """Reads up to the first ping, and answers it; returns its payload."""
    loop = asyncio.get_running_loop()
    while True:
        head = await loop.sock_recv(peer, 2)
        payload = await loop.sock_recv(peer, head[1])
        if head[0] & 15 == PING:
            await loop.sock_sendall(peer, frame(PONG, payload))
            return payload


async def test_a_pause_is_forgiven_while_the_kernel_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that the kernels hide. One that vanishes in its pause, or has vanished before its ping, is found."""
    async with served(monkeypatch, overflow="drop_oldest") as (broadcaster, live):
        peers = [await live.raw() for _ in range(3)]
        await until(lambda: len(broadcaster) == 3)
        vanish(peers[2])
        clients = list(broadcaster._registry)
        await until(unanswered(clients[0]))
        assert broadcaster.statistics().closed == {"no_pong": 1}
        vanish(peers[1])
        await until(lambda: broadcaster.statistics().closed == {"no_pong": 2})
        assert list(broadcaster._registry) == clients[:1]
        await read_pings(peers[0])
        await until(lambda: clients[0].rtt_seconds is not None)
        for peer in peers:
            peer.close()


async def test_a_pause_in_front_of_a_ping_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a closed window, and nothing in user space: the ping waits in the server's kernel, which asks the peer's."""
    async with served(monkeypatch, overflow="latest") as (broadcaster, live):
        peer = await live.raw(receive_buffer=4_096)
        await until(lambda: len(broadcaster) == 1)
        (client,) = broadcaster._registry
        sink: Any = client.sink
        while sink.kernel_bytes() < 4_096:
            await broadcaster.publish("lobby", b"x" * 500)
            await asyncio.sleep(0)
        await until(unanswered(client))
        assert not sink.buffered_bytes
        assert sink.kernel_bytes() > 0
        assert longest_wait_ms(sink) in {1_000, None}  # the least that a kernel can be told
        assert broadcaster.statistics().closed == {}
        vanish(peer)
        await until(lambda: broadcaster.statistics().closed == {"no_pong": 1})
        peer.close()


async def test_a_pause_ends_where_nothing_skips_or_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `disconnect` with its first ping, and elsewhere after `history_seconds`, or `stall_seconds` if longer."""
    async with served(monkeypatch) as (broadcaster, live):
        peer = await live.raw()
        await until(lambda: broadcaster.statistics().closed == {"no_pong": 1})
        peer.close()
    async with served(monkeypatch, overflow="latest", history_seconds=0.4, stall_seconds=0.5) as (broadcaster, live):
        peer = await live.raw()
        await until(lambda: len(broadcaster) == 1)
        (client,) = broadcaster._registry
        sink: Any = client.sink
        await until(lambda: broadcaster.statistics().closed == {"no_pong": 1})
        assert time.monotonic() - sink.asked_at >= 0.5
        peer.close()
