"""What WebSockets and event streams have in common; their own tests have the rest."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from fanwise.core.reasons import CloseReason
from fanwise.transport.fair_share import FRAMES_A_TURN, fair_share
from fanwise.transport.limits import Limits
from fanwise.transport.socket_sink import SocketSink
from fanwise.transport.surroundings import Surroundings, surroundings

from ..support.live import until

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]


class Owner:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def sink_paused(self) -> None:
        self.heard.append("paused")

    def sink_resumed(self) -> None:
        self.heard.append("resumed")

    def sink_receiving(self, *, held: bool) -> None:
        self.heard.append(held)

    def sink_ponged(self, rtt_seconds: float) -> None:
        self.heard.append(rtt_seconds)

    def sink_unanswered(self, seconds: float) -> bool:
        self.heard.append(seconds)
        return False

    def sink_closed(self, reason: CloseReason) -> None:
        self.heard.append(reason)


class Sink(SocketSink):
    """Sends nothing when it closes."""

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        self._close_seconds = within_seconds
        self._closing(reason)
        self.transport.close()


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Sink, socket.socket, Surroundings]]:
    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    config = Config(None, ws_ping_interval=None, log_config=None)  # type: ignore[arg-type]
    around = surroundings(config, ServerState(), loop, Limits())
    sink = Sink(around, transport)
    transport.set_protocol(sink)
    try:
        yield sink, peer, around
    finally:
        transport.abort()
        peer.close()


async def test_an_owner_hears_of_the_end_once() -> None:
    """And of each pause while the connection is open; nothing is written after the end."""
    async with opened() as (sink, peer, around):
        owner = Owner()
        sink.attach(owner)
        assert (sink.owned, sink.open, sink.writable) == (True, True, True)
        sink.write(b"x" * 4_000_000)
        assert owner.heard == ["paused"]
        assert (sink.writable, sink.buffered_bytes > 0) == (False, True)
        while "resumed" not in owner.heard:
            peer.recv(65_536)
            await asyncio.sleep(0)
        await sink.close(CloseReason.OPERATOR, "", within_seconds=5)
        sink.write(b"never")
        peer.close()
        await until(lambda: not around.connections)
        assert owner.heard == ["paused", "resumed", CloseReason.OPERATOR]
        late = Owner()
        sink.attach(late)
        assert late.heard == [CloseReason.LOST]


async def test_a_lost_connection_writes_no_more_and_goes_in_its_turn() -> None:
    """Its client leaves the ready groups at once, and hears of the end when others have had their turn."""
    async with opened() as (sink, peer, around):
        owner = Owner()
        sink.attach(owner)
        fair_share(around.loop).spend(FRAMES_A_TURN)
        lease = sink.lease
        sink.connection_lost(TimeoutError())
        assert (lease.ended, sink.open, sink.writable, sink.transport.is_closing()) == (True, False, False, True)
        assert (owner.heard, len(around.connections)) == (["paused"], 1)
        sink.write(b"never")
        sink.abort()
        await until(lambda: not around.connections)
        assert owner.heard == ["paused", CloseReason.STALLED]
        with pytest.raises(BlockingIOError):
            peer.recv(1, socket.MSG_DONTWAIT)


async def test_a_close_that_is_not_flushed_ends_in_an_abort() -> None:
    """At the earliest of the times that were given."""
    async with opened() as (sink, _peer, around):
        sink.write(b"x" * 4_000_000)
        sink.start_close(CloseReason.OPERATOR, "", within_seconds=60)
        sink.start_close(CloseReason.OPERATOR, "", within_seconds=0.01)
        assert (sink.buffered_bytes, sink.unanswered_seconds(), sink.unanswered_packets()) == (0, 0.0, None)
        sink.ask_every(1.0)
        await until(lambda: not around.connections)


async def test_what_is_not_said_here_is_said_by_those_who_inherit() -> None:
    """How a connection closes and what it is pinged with; a pong is nothing that every connection has."""
    async with opened() as (sink, _peer, _around):
        with pytest.raises(NotImplementedError):
            SocketSink.start_close(sink, CloseReason.LOST, "", within_seconds=1)
        with pytest.raises(NotImplementedError):
            sink.ping(b"1")
        assert sink.waits_for_peer()
        sink.no_pong()
        assert sink.open
