from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import cast

import pytest
from fastapi import FastAPI, WebSocket
from websockets.exceptions import ConnectionClosed

from fanwise import Broadcaster, CloseReason
from fanwise.broadcaster.client import Client, State
from fanwise.transport.limits import Limits
from fanwise.transport.websocket_connection import WebSocketConnection
from fanwise.transport.websocket_protocol import FanwiseProtocol

from ..support.live import Live, handshake, running, until

pytestmark = pytest.mark.anyio

BIG = "x" * 60_000
PING, UNMASKED = b"\x89\x80\x00\x00\x00\x00", b"\x89\x00"


class App:
    """An echo application whose clients the test can reach."""

    def __init__(self, *, queue_bytes: int = 100_000_000) -> None:
        self.broadcaster = Broadcaster(queue_messages=100_000, queue_bytes=queue_bytes)
        self.asgi = FastAPI(lifespan=self.broadcaster.lifespan)
        self.clients: list[Client] = []
        self.returned = 0
        self.asgi.add_api_websocket_route("/ws", self.endpoint)

    async def endpoint(self, websocket: WebSocket) -> None:
        try:
            async with self.broadcaster.connect(websocket, channel="lobby") as client:
                self.clients.append(client)
                async for message in client:
                    await self.broadcaster.publish("lobby", message)
        finally:
            self.returned += 1

    async def ready(self, number: int) -> None:
        await until(lambda: [client.state for client in self.clients].count(State.READY) == number)

    async def stuck(self, live: Live) -> socket.socket:
        """A client that reads nothing, the first and only one, when its socket is full."""
        sock = await live.raw(receive_buffer=4096)
        await self.ready(1)
        while self.clients[0].state is State.READY:
            await self.broadcaster.publish("lobby", BIG)
            await asyncio.sleep(0)
        return sock

    def protocols(self, live: Live) -> list[WebSocketConnection]:
        return live.websockets


async def read_exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    got = bytearray()
    while len(got) < size:
        part = await loop.sock_recv(sock, size - len(got))
        assert part, f"the connection ended after {len(got)} of {size} bytes"
        got += part
    return bytes(got)


async def test_a_client_is_served_over_its_descriptor() -> None:
    """The connection is offered to the application, and an idle client is in the ready group with its descriptor."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as peer:
        await app.ready(1)
        assert app.clients[0].outbox.path == "direct"
        await app.broadcaster.publish("lobby", "hello")
        assert await peer.recv() == "hello"


async def test_a_client_whose_socket_is_full_leaves_the_group_and_comes_back() -> None:
    """Its frames arrive whole and in order, however the kernel cut them; meanwhile others are served."""
    app = App()
    frame = b"\x81\x7e\xea\x60" + BIG.encode()
    async with running(app.asgi) as live, await live.connect() as healthy:
        slow = await live.raw(receive_buffer=4096)
        await app.ready(2)
        count = 0
        while app.clients[1].state is State.READY:
            await app.broadcaster.publish("lobby", BIG)
            assert len(await healthy.recv()) == len(BIG)
            count += 1
        protocol = next(one for one in app.protocols(live) if one._owner is app.clients[1])
        assert protocol.transport.get_write_buffer_size() > 0
        assert protocol.transport.get_write_buffer_size() <= 65_536 + len(frame)
        for _ in range(20):
            await app.broadcaster.publish("lobby", BIG)
            assert len(await healthy.recv()) == len(BIG)
            count += 1
        assert protocol.transport.get_write_buffer_size() <= 65_536 + len(frame)
        assert await read_exactly(slow, count * len(frame)) == frame * count
        await app.ready(2)
        await app.broadcaster.publish("lobby", "and on")
        assert await read_exactly(slow, 8) == b"\x81\x06and on"
        slow.close()


async def test_uvicorns_own_bytes_do_not_mix_with_ours() -> None:
    """A pong that the transport had to buffer takes the client out of the group until it is written."""
    app = App()
    async with running(app.asgi) as live:
        slow = await live.raw(receive_buffer=4096)
        await app.ready(1)
        frame = b"\x81\x7e\xea\x60" + BIG.encode()
        count = 0
        while app.clients[0].state is State.READY:
            await app.broadcaster.publish("lobby", BIG)
            await asyncio.sleep(0)
            count += 1
        await asyncio.get_running_loop().sock_sendall(slow, b"\x89\x80\x00\x00\x00\x00")  # a ping
        got = await read_exactly(slow, count * len(frame) + 2)
        assert got.replace(frame, b"") == b"\x8a\x00"
        slow.close()


@pytest.mark.parametrize("how", ["close", "reset", "vanish", "half-close"])
async def test_a_client_that_leaves_is_gone(how: str) -> None:
    """In whichever way: it is in no group, its endpoint returns, and the others do not notice."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as healthy:
        peer = await live.raw()
        await app.ready(2)
        if how == "close":
            await asyncio.get_running_loop().sock_sendall(peer, b"\x88\x82\x00\x00\x00\x00\x03\xe8")
        elif how == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            peer.close()
        elif how == "vanish":
            peer.close()
        else:
            peer.shutdown(socket.SHUT_WR)
        await until(lambda: app.returned == 1)
        assert app.clients[1].reason is (CloseReason.NORMAL if how == "close" else CloseReason.LOST)
        assert app.broadcaster.statistics().channels[0].ready == 1
        await app.broadcaster.publish("lobby", "still here")
        assert await healthy.recv() == "still here"
        peer.close()


async def test_we_can_abort_a_client_that_reads_nothing() -> None:
    """Its connection ends although its buffers are full."""
    app = App()
    async with running(app.asgi) as live:
        stuck = await app.stuck(live)
        app.clients[0].sink.abort()
        await until(lambda: app.returned == 1 and not app.protocols(live))
        stuck.close()


async def test_whom_the_kernel_gives_up_has_stalled() -> None:
    """Its patience may end before ours; what is counted, and logged, is the same."""
    app = App()
    async with running(app.asgi) as live:
        stuck = await app.stuck(live)
        (protocol,) = app.protocols(live)
        sock = protocol.transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1)
        await until(lambda: app.returned == 1)
        assert app.clients[0].reason is CloseReason.STALLED
        stuck.close()


async def test_a_closed_client_is_told_why() -> None:
    """Close code and text arrive, and the endpoint's iteration ends."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as peer:
        await app.ready(1)
        app.clients[0].close(CloseReason.SLOW)
        with pytest.raises(ConnectionClosed) as caught:
            await peer.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4008, "slow: the queue overflowed")
        await until(lambda: app.returned == 1)


async def test_a_closing_client_that_does_not_read_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closing handshake is waited for `close_timeout` seconds; then the descriptor is free."""
    monkeypatch.setattr("fanwise.transport.socket_sink.CLOSE_SECONDS", 0.05)
    app = App()
    async with running(app.asgi) as live:
        stuck = await app.stuck(live)
        app.clients[0].close(CloseReason.SLOW)
        await until(lambda: not app.protocols(live))
        stuck.close()


async def test_a_peer_that_closes_and_reads_nothing_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own close frame does not keep the connection, whose buffer is never flushed, forever."""
    monkeypatch.setattr("fanwise.transport.socket_sink.CLOSE_SECONDS", 0.05)
    app = App()
    async with running(app.asgi) as live:
        stuck = await app.stuck(live)
        await asyncio.get_running_loop().sock_sendall(stuck, b"\x88\x82\x00\x00\x00\x00\x03\xe8")
        await until(lambda: not app.protocols(live))
        stuck.close()


async def test_what_a_client_sends_before_it_leaves_is_published() -> None:
    """Messages and close in one packet: nothing of it is lost."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as other:
        peer = await live.raw()
        await app.ready(2)
        three = b"".join(b"\x81\x81\x00\x00\x00\x00" + letter for letter in (b"a", b"b", b"c"))
        await asyncio.get_running_loop().sock_sendall(peer, three + b"\x88\x82\x00\x00\x00\x00\x03\xe8")
        assert [await other.recv() for _ in range(3)] == ["a", "b", "c"]
        peer.close()


async def test_fragments_make_one_message() -> None:
    """In text and in binary."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as peer:
        await app.ready(1)
        await peer.send(["Hel", "lo"])
        await peer.send([b"\x00", b"\xff"])
        assert [await peer.recv(), await peer.recv()] == ["Hello", b"\x00\xff"]


async def test_text_that_is_not_utf_8_closes_its_sender_and_nobody_else() -> None:
    """With 1007 (RFC 6455 section 8.1)."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as other:
        peer = await live.raw()
        await app.ready(2)
        await asyncio.get_running_loop().sock_sendall(peer, b"\x81\x81\x00\x00\x00\x00\xff")
        assert (await read_exactly(peer, 4))[2:] == (1007).to_bytes(2)
        assert app.clients[1].reason is CloseReason.BAD_TEXT
        await app.broadcaster.publish("lobby", "still here")
        assert await other.recv() == "still here"
        peer.close()


async def test_a_sender_that_is_faster_than_its_endpoint_is_held_back() -> None:
    """What it has sent waits in the kernel, not in our memory."""
    broadcaster = Broadcaster()
    asgi = FastAPI(lifespan=broadcaster.lifespan)
    connected, go_on = asyncio.Event(), asyncio.Event()
    got: list[int] = []

    @asgi.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="lobby") as client:
            messages = aiter(client)
            got.append(len(await anext(messages)))
            connected.set()
            await go_on.wait()
            got.extend([len(message) async for message in messages])

    async with running(asgi) as live, await live.connect() as peer:

        async def send() -> None:
            for _ in range(200):
                await peer.send(BIG)
            await peer.close()

        task = asyncio.create_task(send())
        await connected.wait()
        (protocol,) = live.websockets
        await until(lambda: not protocol.transport.is_reading())
        assert protocol.receiver.size_bytes < 20 * len(BIG)
        go_on.set()
        await task
        await until(lambda: len(got) == 200)
        assert got == [len(BIG)] * 200


async def test_an_endpoint_may_read_by_itself() -> None:
    """`websocket.receive_text()` works beside the client's queue, as long as nobody iterates."""
    broadcaster = Broadcaster()
    asgi = FastAPI(lifespan=broadcaster.lifespan)

    @asgi.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="lobby"):
            await broadcaster.publish("lobby", (await websocket.receive_text()).upper())
            await websocket.receive()

    async with running(asgi) as live, await live.connect() as peer:
        await peer.send("hello")
        assert await peer.recv() == "HELLO"


async def test_pings_are_answered_and_unanswered_ones_end_the_connection() -> None:
    """Uvicorn's keep-alive goes on working beside the sweeps, and takes its client out of the groups."""
    app = App()
    async with running(app.asgi) as live:
        silent = await live.raw()
        await app.ready(1)
        (protocol,) = app.protocols(live)
        protocol.ping(b"1234")
        assert (await read_exactly(silent, 6)) == b"\x89\x041234"
        assert app.clients[0].state is State.READY
        protocol.no_pong()
        assert app.broadcaster.statistics().closed == {"no_pong": 1}
        assert await read_exactly(silent, 11) == b"\x88\x09" + (4012).to_bytes(2) + b"no pong"
        await until(lambda: not app.protocols(live))
        silent.close()


async def test_a_client_that_we_do_not_read_is_not_blamed_for_its_pong() -> None:
    """While its endpoint is behind, the pong waits in the kernel: the deadline is set anew."""
    app = App()
    async with running(app.asgi) as live:
        peer = await live.raw()
        await app.ready(1)
        (protocol,) = app.protocols(live)
        protocol.transport.pause_reading()
        assert protocol.waits_for_peer()
        protocol.transport.resume_reading()
        assert not protocol.waits_for_peer()
        peer.close()


async def test_a_flood_of_pings_is_not_answered_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not read its pongs cannot make us keep them."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(rates=False))
    app = App()
    async with running(app.asgi) as live:
        peer = await live.raw(receive_buffer=4096)
        await app.ready(1)
        (protocol,) = app.protocols(live)
        flood = (b"\x89\xfd\x00\x00\x00\x00" + bytes(125)) * 5000
        loop, most = asyncio.get_running_loop(), 0
        for _ in range(12):
            await loop.sock_sendall(peer, flood)
            most = max(most, protocol.transport.get_write_buffer_size())
        assert 131_072 < most < 140_000
        peer.close()


async def test_empty_fragments_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are legal, and endless ones cost nothing."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(rates=False))
    app = App()
    async with running(app.asgi) as live, await live.connect() as other:
        peer = await live.raw()
        await app.ready(2)
        (protocol,) = (one for one in app.protocols(live) if one._owner is app.clients[1])
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, b"\x01\x81\x00\x00\x00\x00a" + b"\x00\x80\x00\x00\x00\x00" * 1000)
        await loop.sock_sendall(peer, b"\x00\x81\x00\x00\x00\x00b" + b"\x89\x80\x00\x00\x00\x00")
        assert await read_exactly(peer, 2) == b"\x8a\x00"
        assert protocol.incoming._fragments == [b"a", b"b"]
        await loop.sock_sendall(peer, b"\x80\x80\x00\x00\x00\x00")
        assert await other.recv() == "ab"
        peer.close()


@pytest.mark.parametrize(
    "stream",
    [b"\x81\x81\x00\x00\x00\x00\xff" * 3, b"\x88\x82\x00\x00\x00\x00\x03\xe8" + b"\x81\x81\x00\x00\x00\x00\xff" * 3],
    ids=["invalid text", "close and invalid text"],
)
async def test_what_comes_after_the_end_does_not_count(stream: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """However much of it is in the same packet; nothing is logged about it."""
    app = App()
    async with running(app.asgi) as live:
        peer = await live.raw()
        await app.ready(1)
        await asyncio.get_running_loop().sock_sendall(peer, stream)
        assert (await read_exactly(peer, 2))[0] == 0x88
        await until(lambda: not app.protocols(live))
        peer.close()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_broken_rule_behind_a_flood_after_the_end_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """A peer that goes on pinging after the server's close is paused. Its next turn finds nothing to parse."""
    app = App()
    async with running(app.asgi) as live:
        peer = await live.raw()
        await app.ready(1)
        protocol = app.protocols(live)[0]
        protocol.start_close(CloseReason.OPERATOR, "", within_seconds=10)
        await asyncio.get_running_loop().sock_sendall(peer, PING * 310 + UNMASKED)
        await until(lambda: protocol.transport._held)
        await until(lambda: not protocol.transport._held)
        peer.close()
        await until(lambda: not app.protocols(live))
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_messages_that_came_before_the_iteration_hold_their_sender_back() -> None:
    """What uvicorn has queued goes into the inbox, whose own brake holds from then on."""
    broadcaster = Broadcaster()
    asgi = FastAPI(lifespan=broadcaster.lifespan)
    go_on, iterate = asyncio.Event(), asyncio.Event()
    got: list[str | bytes] = []

    @asgi.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="lobby") as client:
            await iterate.wait()
            messages = aiter(client)
            got.append(await anext(messages))
            await go_on.wait()
            got.extend([message async for message in messages])

    async with running(asgi) as live:
        peer = await live.raw()
        sending = asyncio.create_task(
            asyncio.get_running_loop().sock_sendall(peer, (b"\x81\xfd\x00\x00\x00\x00" + b"x" * 125) * 40_000)
        )
        await until(lambda: bool(live.websockets))
        (protocol,) = live.websockets
        asgi_side = cast("FanwiseProtocol", protocol.receiver)
        await until(lambda: asgi_side.queue.qsize() > 256)
        iterate.set()
        await until(lambda: len(got) == 1)
        assert not protocol.transport.is_reading()
        go_on.set()
        await sending
        await until(lambda: protocol.receiver.size_bytes == 0)
        peer.close()


async def test_the_server_stops_while_a_peer_that_closed_does_not_read() -> None:
    """Uvicorn would send a second close frame, and fail over it for all the others."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as other:
        await app.ready(1)
        app.clients.clear()
        stuck = await app.stuck(live)
        await asyncio.get_running_loop().sock_sendall(stuck, b"\x88\x82\x00\x00\x00\x00\x03\xe8")
        await until(lambda: app.clients[0].state is State.CLOSED)
        live.server.should_exit = True
        with contextlib.suppress(ConnectionClosed):
            async for message in other:
                assert message == BIG
        assert other.close_code == 1012
    stuck.close()


@pytest.mark.parametrize(
    "frame",
    [
        b"\x89\x80\x00\x00\x00\x00",
        b"\x8a\x80\x00\x00\x00\x00",
        b"\x00\x80\x00\x00\x00\x00",
    ],
    ids=["pings", "pongs", "empty fragments"],
)
async def test_a_flood_of_the_smallest_frames_ends_its_connection_and_delays_nobody(frame: bytes) -> None:
    """It is closed with 1008, told why, and others are served between any two hundred of its frames."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as other:
        await app.ready(1)
        peer = await live.raw()
        await app.ready(2)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, b"\x01\x81\x00\x00\x00\x00a" if frame[0] == 0 else b"")
        sending = loop.create_task(loop.sock_sendall(peer, frame * 200_000))
        await app.broadcaster.publish("lobby", "still here")
        assert await other.recv() == "still here"
        await until(lambda: app.clients[1].state is State.CLOSED)
        assert app.clients[1].reason is CloseReason.RATE
        await until(lambda: len(app.protocols(live)) == 1)
        sending.cancel()
        peer.close()


async def test_thousands_of_messages_in_one_packet_are_taken_in_by_and_by() -> None:
    """In order, and with the loop given back between them; nothing is limited by number."""
    app = App()
    async with running(app.asgi) as live, await live.connect() as other:
        await app.ready(1)
        peer = await live.raw()
        await app.ready(2)
        texts = [f"{number:04}" for number in range(3000)]
        frames = b"".join(b"\x81\x84\x00\x00\x00\x00" + text.encode() for text in texts)
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(peer, frames))
        assert [await other.recv() for _ in texts] == texts
        await sending
        peer.close()


@pytest.mark.parametrize("early", [b"\x89\x80mask", b"\xff\x80mask", b"\x81\x01x"], ids=["ping", "broken", "unmasked"])
async def test_nothing_is_taken_before_the_handshake_is_answered(
    early: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A pong must not stand before the answer, and what breaks a rule ends the connection and nothing else."""
    here, go_on = asyncio.Event(), asyncio.Event()
    app = FastAPI()

    async def endpoint(websocket: WebSocket) -> None:
        here.set()
        await go_on.wait()
        await websocket.accept()

    app.add_api_websocket_route("/ws", endpoint)
    async with running(app) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(handshake("/ws"))
        await here.wait()
        writer.write(early)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        go_on.set()
        writer.close()
        await until(lambda: not live.server.server_state.connections)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_who_takes_nothing_from_an_endpoint_without_a_client_is_aborted() -> None:
    """No audit looks at it, and a pong that is behind what it does not read never comes."""
    app = FastAPI()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(BIG)

    app.add_api_websocket_route("/ws", endpoint)
    async with running(app) as live:
        live.server.config.ws_ping_interval = live.server.config.ws_ping_timeout = 0.05
        with await live.raw(receive_buffer=4096):
            await until(lambda: not live.server.server_state.connections)
