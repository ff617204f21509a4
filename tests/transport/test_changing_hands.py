"""Every way in which a transport changes hands or dies: whose bytes may be written to its socket, and who is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from fastapi import WebSocket
from starlette.background import BackgroundTask
from starlette.responses import Response

from fanwise.broadcaster.client import Client, State
from fanwise.broadcaster.node import Node
from fanwise.broadcaster.statistics import ChannelStatistics
from fanwise.core.dialect import SSE
from fanwise.routes.auth.guards import Access
from fanwise.routes.router import build_router
from fanwise.transport.connect import connect
from fanwise.transport.event_stream import EventStreamResponse
from fanwise.transport.http_protocol import FanwiseHttpProtocol
from fanwise.transport.websocket_protocol import FanwiseProtocol

from ..support.live import Live, app_of, handshake, running, until

pytestmark = pytest.mark.anyio

STREAM = b"GET /sse/lobby HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SECRET = "for the other channel only"
TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


class Place:
    """A server with everything of ours, and an application's own routes beside it."""

    def __init__(self, broadcaster: Node, live: Live, authority: trustme.CA | None) -> None:
        self.broadcaster = broadcaster
        self.live = live
        self._context = None
        if authority is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's authorities: 30 ms to load
            authority.configure_trust(self._context)

    async def open(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.live.port, ssl=self._context)
        writer.write(data)
        return reader, writer

    async def answer(self, data: bytes) -> bytes:
        """All that comes, up to the end of the connection."""
        reader, writer = await self.open(data)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def empty(self) -> None:
        """Returns when no connection and no client is left, and no ready group has a member."""
        await until(lambda: not self.live.server.server_state.connections and not len(self.broadcaster))
        assert [channel.ready for channel in self.channels if channel.ready] == []

    @property
    def channels(self) -> Sequence[ChannelStatistics]:
        return self.broadcaster.statistics().channels

    @property
    def protocols(self) -> list[Any]:
        return list(self.live.server.server_state.connections)


@asynccontextmanager
async def place(
    tmp_path: Path | None = None, *, tls: bool = False, key: str | None = None, fast: bool = True
) -> AsyncIterator[Place]:
    broadcaster = Node()
    access = Access(api_key=key) if key else None
    app = app_of(build_router(broadcaster, access=access, heartbeat_seconds=0.05))

    @app.websocket("/fails")
    async def fails(websocket: WebSocket) -> None:
        async with broadcaster_connect(broadcaster, websocket):
            raise RuntimeError("on purpose")

    @app.get("/fails")
    async def fails_before() -> Response:
        raise RuntimeError("on purpose")

    @app.get("/fails-late")
    async def fails_late() -> Response:
        return stream_of(Failing())

    @app.get("/fails-behind")
    async def fails_behind() -> Response:
        response = stream_of(broadcaster)
        response.background = BackgroundTask(fail)
        return response

    authority, certificate = None, None
    if tls:
        authority = trustme.CA()
        assert tmp_path is not None
        certificate = tmp_path / "server.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    async with running(app, fast=fast, ssl_certfile=str(certificate) if certificate else None) as live:
        yield Place(broadcaster, live, authority)


class Failing(Node):
    """Takes no client, for a reason that nobody has thought of."""

    def add_client(self, *_: Any, **__: Any) -> Client:
        raise RuntimeError("on purpose")


async def fail() -> None:
    raise RuntimeError("on purpose")


def stream_of(broadcaster: Node) -> EventStreamResponse:
    return EventStreamResponse(broadcaster, channel="lobby", since=None, dialect=SSE, heartbeat_seconds=15)


def broadcaster_connect(broadcaster: Node, websocket: WebSocket) -> Any:
    return connect(broadcaster, websocket, channel="lobby")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@TLS
@pytest.mark.parametrize("key", [None, "k" * 32], ids=["open", "with a key"])
async def test_an_upgrade_behind_a_stream_leaves_no_ghost(tmp_path: Path, tls: bool, key: str | None) -> None:
    """Twenty times in one packet, and of twenty who come after nobody gets a byte that is not theirs."""
    async with place(tmp_path, tls=tls, key=key) as here:
        before = descriptors()
        for _ in range(20):
            await here.answer(STREAM + handshake("/ws?channel=other"))
        await here.empty()
        await until(lambda: descriptors() == before)
        later = [await here.open(handshake("/ws?channel=other")) for _ in range(20)]
        await until(lambda: len(here.broadcaster) == 20)
        for number in range(5):
            await here.broadcaster.publish("lobby", SECRET)
            await here.broadcaster.publish("other", str(number))
        for reader, writer in later:
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(15) == b"\x81\x010\x81\x011\x81\x012\x81\x013\x81\x014"
            writer.close()
        await here.empty()


@TLS
@pytest.mark.parametrize("what", [handshake("/ws"), HEALTH, b"\x00"], ids=["upgrade", "request", "a byte"])
async def test_what_comes_behind_an_open_stream_ends_it(tmp_path: Path, tls: bool, what: bytes) -> None:
    """A stream's response never ends, so nothing behind its request could ever be answered."""
    async with place(tmp_path, tls=tls) as here:
        reader, writer = await here.open(STREAM)
        await reader.readuntil(b"subscribed")
        writer.write(what)
        assert b" 101 " not in await reader.read()
        writer.close()
        await here.empty()


async def test_what_comes_behind_a_stream_in_the_same_packet_ends_it() -> None:
    """Before it has begun: nobody is left without an answer."""
    async with place() as here:
        answer = await here.answer(STREAM + HEALTH * 3)
        assert answer.count(b"HTTP/1.1") == 1
        await here.empty()


async def test_requests_are_answered_one_after_the_other_and_then_an_upgrade_is() -> None:
    """All in one packet: pipelining is allowed (RFC 9112 section 9.3.2), it is only not worked on ahead."""
    async with place() as here:
        body = b"POST /publish/lobby HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\nhi"
        chunks = (
            b"POST /publish/lobby HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n"
        )
        reader, writer = await here.open(HEALTH + body + chunks + HEALTH + handshake("/ws"))
        for _ in range(4):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")), head
            length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(length)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        await until(lambda: len(here.broadcaster) == 1)
        await here.broadcaster.publish("lobby", "now")
        assert await reader.readexactly(5) == b"\x81\x03now"
        writer.close()
        await here.empty()


async def test_one_request_is_worked_on_and_what_follows_waits_in_the_kernel() -> None:
    """However many are sent: the parser sees one at a time, and reading is paused meanwhile."""
    async with place() as here:
        reader, writer = await here.open(HEALTH.replace(b"\r\n\r\n", b"\r\nX-Long: %b\r\n\r\n" % (b"x" * 3_500)) * 250)
        most = 0
        for _ in range(250):
            await reader.readuntil(b'"ok"}')
            for protocol in here.protocols:
                most = max(most, len(protocol._waiting))
                assert not protocol.pipeline
        assert most < 300_000  # one read of the event loop
        writer.close()
        await here.empty()


@pytest.mark.parametrize("early", [b"\x81\x80\x00\x00\x00\x00", HEALTH], ids=["a frame", "a request"])
async def test_an_upgrade_with_something_behind_it_is_refused(early: bytes) -> None:
    """The peer has to wait for the answer (RFC 6455 section 4.1): what it sends would be lost, or taken for a frame."""
    async with place() as here:
        assert (await here.answer(handshake("/ws") + early)).startswith(b"HTTP/1.1 400")
        await here.empty()


async def test_http_behind_101_is_no_frame() -> None:
    """The connection fails with 1002, and its client is gone."""
    async with place() as here:
        reader, writer = await here.open(handshake("/ws"))
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: len(here.broadcaster) == 1)
        writer.write(HEALTH)
        assert (await reader.read()).startswith(b"\x88")
        writer.close()
        await here.empty()
        assert here.broadcaster.statistics().closed == {"protocol_error": 1}


async def test_connection_close_ends_it_after_the_answer() -> None:
    """What was sent behind it is not answered (RFC 9112 section 9.6)."""
    async with place() as here:
        last = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert (await here.answer(last + HEALTH + handshake("/ws"))).count(b"HTTP/1.1") == 1
        await here.empty()


async def test_a_stream_in_http_1_0() -> None:
    """Proxies ask like that; it ends with the connection all the same."""
    async with place() as here:
        reader, writer = await here.open(b"GET /sse/lobby HTTP/1.0\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"subscribed")
        writer.close()
        await here.empty()


async def test_head_of_a_stream() -> None:
    """There is no stream without a body."""
    async with place() as here:
        assert b" 405 " in await here.answer(
            STREAM.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        await here.empty()


@pytest.mark.parametrize("of", [FanwiseProtocol, FanwiseHttpProtocol])
async def test_a_connection_that_is_aborted_while_it_is_made(monkeypatch: pytest.MonkeyPatch, of: Any) -> None:
    """It ends, and leaves nothing."""
    made = of.connection_made

    def abort(self: Any, transport: Any) -> None:
        made(self, transport)
        self.transport.abort()

    monkeypatch.setattr(of, "connection_made", abort)
    async with place() as here:
        assert b"101" not in await here.answer(handshake("/ws"))
        await here.empty()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (handshake("/fails"), b"\x88"),
        (b"GET /fails HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 500"),
        (b"GET /fails-late HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 200"),
    ],
    ids=["a websocket's", "before the response", "after the stream was opened"],
)
async def test_an_endpoint_that_fails(monkeypatch: pytest.MonkeyPatch, request_: bytes, answer: bytes) -> None:
    """Its connection ends, whether the response had begun or not."""
    monkeypatch.setattr("fanwise.transport.socket_sink.CLOSE_SECONDS", 0.05)
    async with place() as here:
        assert answer in await here.answer(request_)
        await here.empty()


async def test_a_stream_outlives_what_fails_behind_it() -> None:
    """Its connection is the application's no more when background tasks run."""
    async with place() as here:
        reader, writer = await here.open(b"GET /fails-behind HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"subscribed")
        await until(lambda: not here.live.server.server_state.tasks)
        await here.broadcaster.publish("lobby", "on it goes")
        await reader.readuntil(b"on it goes")
        writer.close()
        await here.empty()


async def test_a_client_whose_task_is_cancelled() -> None:
    """Nobody would serve it: it is ended. Over plain ASGI, where clients have tasks."""
    async with place(fast=False) as here:
        reader, writer = await here.open(handshake("/ws"))
        await until(lambda: len(here.broadcaster) == 1)
        assert here.broadcaster._host is not None
        (task,) = here.broadcaster._host.tasks
        task.cancel()
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        await here.empty()


@TLS
async def test_drain_ends_all_leases(tmp_path: Path, tls: bool) -> None:
    """Streams and WebSockets are told, and then gone."""
    async with place(tmp_path, tls=tls) as here:
        peers = [await here.open(request) for request in (STREAM, handshake("/ws")) * 5]
        await until(lambda: len(here.broadcaster) == 10)
        await here.broadcaster.drain(seconds=0.2)
        for reader, writer in peers:
            assert await reader.read()
            writer.close()
        await here.empty()


async def test_over_plain_asgi_there_is_no_lease() -> None:
    """With uvicorn's own classes nothing of ours writes to a socket: whoever comes later gets what is theirs.

    The ghosts are uvicorn's there: on asyncio it never tells that their connections have ended.
    """
    async with place(fast=False) as here:
        for _ in range(20):
            reader, writer = await here.open(STREAM + handshake("/ws?channel=other"))
            await reader.readuntil(b"101")
            writer.close()
        later = [await here.open(handshake("/ws?channel=third")) for _ in range(20)]
        for reader, _ in later:
            await reader.readuntil(b"\r\n\r\n")
        await until(lambda: [channel.clients for channel in here.channels if channel.name == "third"] == [20])
        await here.broadcaster.publish("lobby", SECRET)
        await here.broadcaster.publish("third", "ours")
        for reader, writer in later:
            assert await reader.readexactly(6) == b"\x81\x04ours"
            writer.close()


@TLS
@pytest.mark.parametrize("request_", [STREAM, handshake("/ws")], ids=["stream", "websocket"])
async def test_a_transport_that_somebody_else_takes(tmp_path: Path, tls: bool, request_: bytes) -> None:
    """Its client leaves the ready groups in the same call, and the old protocol cannot touch the transport any more."""
    async with place(tmp_path, tls=tls) as here:
        _, writer = await here.open(request_)
        await until(lambda: [client.state for client in here.broadcaster._registry] == [State.READY])
        (client,) = here.broadcaster._registry
        (protocol,) = here.protocols
        raw, lost = protocol.transport._transport, asyncio.Event()

        class Taker(asyncio.Protocol):
            def connection_lost(self, exc: Exception | None) -> None:
                lost.set()

        protocol.transport.set_protocol(Taker())
        assert client.state is State.CLOSED
        assert sum(channel.ready for channel in here.channels) == 0
        protocol.transport.write(b"x")
        protocol.transport.abort()
        assert not raw.is_closing()
        assert protocol.transport.is_closing()
        writer.close()
        await lost.wait()
        here.live.server.server_state.connections.discard(protocol)
        await here.empty()
