"""What a stranger can send to the HTTP side: it is answered or closed in time, and it costs little."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.background import BackgroundTask
from starlette.responses import Response

from fanwise.broadcaster.node import Node
from fanwise.routes.router import build_router
from fanwise.transport.fair_share import fair_share
from fanwise.transport.http_protocol import FanwiseHttpProtocol
from fanwise.transport.limits import Limits
from fanwise.transport.request_cutter import TRAILER_BYTES

from ..support.live import Live, app_of, handshake, running, until

pytestmark = pytest.mark.anyio

HOST = b"Host: 127.0.0.1\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
PUBLISH = b"POST /publish/lobby HTTP/1.1\r\n" + HOST


@cache
def usual() -> FastAPI:
    """One application, whose broadcaster is started and stopped by each server: to build one is half of a test."""
    return app_of(build_router(Node()))


@asynccontextmanager
async def door(broadcaster: Node | None = None) -> AsyncIterator[Live]:
    async with running(usual() if broadcaster is None else app_of(build_router(broadcaster))) as live:
        yield live
        await until(lambda: not live.server.server_state.connections)


async def answer(live: Live, data: bytes) -> bytes:
    """All that comes after `data`, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    try:
        writer.write(data)
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@contextmanager
def deaf(live: Live) -> Iterator[socket.socket]:
    """A connection that takes next to nothing, and never reads."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", live.port))
        yield sock


def with_headers(request: bytes, *headers: bytes) -> bytes:
    return request.replace(b"\r\n\r\n", b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n")


@pytest.mark.parametrize("request_", [HEALTH, handshake("/ws")], ids=["request", "upgrade"])
@pytest.mark.parametrize(
    "headers",
    [[b"A: " + b"x" * Limits().head_bytes], [b"A: x"] * 150, [b"A%d: " % at + b"x" * 1000 for at in range(20)]],
    ids=["one too long", "too many", "too much"],
)
async def test_a_head_that_is_too_large_is_answered_with_431(request_: bytes, headers: list[bytes]) -> None:
    """Not parsed to its end, and the connection is closed."""
    async with door() as live:
        assert (await answer(live, with_headers(request_, *headers))).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("request_", [HEALTH, handshake("/ws")], ids=["request", "upgrade"])
async def test_an_address_that_is_too_long_is_answered_with_431(request_: bytes) -> None:
    """It is a part of the head."""
    async with door() as live:
        request_ = request_.replace(b" HTTP/1.1", b"?" + b"x" * 20_000 + b" HTTP/1.1")
        assert (await answer(live, request_)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_without_end_is_cut_off() -> None:
    """After its limit, however much follows: nothing of it is kept."""
    async with door() as live:
        got = await answer(live, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000)
        assert got == b"" or got.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (with_headers(handshake("/ws"), b"A: " + b"x" * 9_000), b"431"),
        (with_headers(handshake("/ws"), b"Content-Length: 5") + b"hello", b"400"),
        (with_headers(handshake("/ws"), b"Transfer-Encoding: chunked") + b"0\r\n\r\n", b"400"),
        (handshake("/ws").replace(b"HTTP/1.1", b"HTTP/1.0"), b"400"),
        (with_headers(handshake("/ws"), b"Host: another"), b"400"),
        (with_headers(HEALTH, b"Host: another"), b"400"),
        (with_headers(handshake("/ws"), b"A: " + b"\xff"), b"101"),
        (handshake("/ws").replace(b"Version: 13", b"Version: 12"), b"426"),
    ],
    ids=["a line of 9 kB", "a body", "chunks", "HTTP/1.0", "two hosts", "two hosts, no upgrade", "latin-1", "version"],
)
async def test_an_upgrade_that_is_none_is_answered(request_: bytes, status: bytes) -> None:
    """By us, where the WebSocket library would keep the connection without a word."""
    async with door() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(request_)
        assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == status
        writer.close()


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"", b""),
        (b"GET /hea", b"408"),
        (HEALTH[:-2], b"408"),
        (HEALTH + b"GET /he", b"408"),
        (PUBLISH + b"Content-Length: 5\r\n\r\n", b"408"),
        (PUBLISH + b"Content-Length: 5\r\n\r\nhell", b"408"),
        (PUBLISH + b"Transfer-Encoding: chunked\r\n\r\n1", b"408"),
        (PUBLISH + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"408"),
    ],
    ids=[
        "nothing",
        "half a line",
        "half a head",
        "half a second head",
        "no body",
        "half a body",
        "half a chunk",
        "trailers",
    ],
)
async def test_who_does_not_go_on_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, begun: bytes, status: bytes
) -> None:
    """It is told so, if it has begun a request, and closed."""
    monkeypatch.setattr(FanwiseHttpProtocol, "limits", Limits(head_seconds=0.05, body_seconds=0.05))
    async with door() as live:
        got = await answer(live, begun)
        assert (b"HTTP/1.1 408 " in got) if status else got == b""


async def test_a_body_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is not the pace that is asked for."""
    monkeypatch.setattr(FanwiseHttpProtocol, "limits", Limits(body_seconds=0.1))
    async with door() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(PUBLISH + b"Content-Length: 60000\r\n\r\n")
        loop, drips = asyncio.get_running_loop(), []

        def drip() -> None:
            writer.write(b"x")
            drips.append(loop.call_later(0.01, drip))

        drip()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
        drips[-1].cancel()
        writer.close()


async def test_an_answer_that_is_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are asked for: one is in the making, and a peer that takes none of it is aborted.

    A FIN would wait behind what the kernel holds, until the peer reads. The peer sees the reset without reading.
    """
    monkeypatch.setattr("fanwise.transport.deadlines.STALL_SECONDS", 0.1)
    monkeypatch.setattr("fanwise.transport.deadlines.LOOK_SECONDS", 0.05)
    broadcaster = Node(max_message_bytes=65_536)
    async with door(broadcaster) as live:
        for _ in range(100):
            await broadcaster.publish("lobby", "x" * 60_000)
        ask = b"GET /channels/lobby/history?limit=1000 HTTP/1.1\r\n" + HOST + b"\r\n"
        with deaf(live) as sock:
            sock.sendall(ask * 100)
            await until(lambda: bool(live.server.server_state.connections))
            await until(lambda: not live.server.server_state.connections)
            poll = select.poll()
            poll.register(sock, 0)
            await until(lambda: bool(poll.poll(0)))


@pytest.mark.parametrize("end", [b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b""], ids=["answered", "not begun"])
async def test_a_closed_connection_that_is_not_flushed_is_aborted(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """Closing waits for a peer that may never read."""
    monkeypatch.setattr("fanwise.transport.deadlines.CLOSE_SECONDS", 0.05)
    monkeypatch.setattr("fanwise.transport.deadlines.STALL_SECONDS", 60.0)
    app = FastAPI()

    async def large() -> Response:
        return Response(b"x" * 6_000_000)

    app.add_api_route("/large", large)
    async with running(app) as live:
        with deaf(live) as sock:
            sock.sendall(b"GET /large HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n" + end)
            await until(lambda: bool(live.server.server_state.connections))
            await until(lambda: not live.server.server_state.connections)


async def test_trailers_are_not_for_the_application() -> None:
    """A key that stands only there is none, and they are bounded (RFC 9110 section 6.5.1)."""
    chunked = PUBLISH + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
    async with door() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(chunked + b"Content-Type: application/json\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")  # "hi" is no JSON
        writer.close()
        assert b"HTTP/1.1 431 " in await answer(live, chunked + b"A: " + b"x" * TRAILER_BYTES + b"\r\n\r\n")


async def test_honest_requests_are_not_limited() -> None:
    """A large body in small parts, many requests on one connection, and a head as large as browsers make them."""
    async with door(Node(max_message_bytes=1_000_000)) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        for _ in range(200):
            writer.write(with_headers(HEALTH, b"Cookie: " + b"c" * 8_000))
            assert (await reader.readuntil(b'"ok"}')).startswith(b"HTTP/1.1 200")
        writer.write(PUBLISH + b"Content-Length: 500000\r\n\r\n")
        for _ in range(50):
            writer.write(b"x" * 10_000)
            await writer.drain()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_body_behind_its_answer_leaves_no_connection_without_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is idle again when the body has come, and is closed like any other that is."""
    async with door() as live:
        monkeypatch.setattr(live.server.config, "timeout_keep_alive", 0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        writer.write(b"body")
        assert b"HTTP/1.1" not in await reader.read()
        writer.close()


@pytest.mark.parametrize("body", [b"no size\r\n", b"4\r\nbo"], ids=["broken", "late"])
async def test_a_request_gets_one_answer(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """What is wrong with a body that comes behind it has none: it would be taken for that of the next request."""
    if body == b"4\r\nbo":
        monkeypatch.setattr(FanwiseHttpProtocol, "limits", Limits(body_seconds=0.1))
    async with door() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        writer.write(body)
        assert b"HTTP/1.1" not in await reader.read()
        writer.close()


async def test_a_body_that_never_comes_does_not_outlive_the_server() -> None:
    """Its request is answered with 503 when the server stops; uvicorn would cancel the application instead."""
    async with running(usual()) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(PUBLISH + b"Content-Length: 4\r\n\r\n")
        await until(lambda: bool(live.server.server_state.tasks))
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    writer.close()


async def test_who_waits_to_be_told_to_go_on_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the application that takes its time (RFC 9110 section 10.1.1)."""
    monkeypatch.setattr(FanwiseHttpProtocol, "limits", Limits(body_seconds=0.05))
    app = FastAPI()

    async def slow(request: Request) -> Response:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_later(0.2, done.set_result, None)
        await done
        return Response(await request.body())

    app.add_api_route("/slow", slow, methods=["POST"])
    async with running(app) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(b"POST /slow HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"body")
        assert (await reader.readuntil(b"\r\n\r\nbody")).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize("cut", [None, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 4\r\n", b"body"),
        (b"Transfer-Encoding: chunked\r\n", b"2;x=y\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"),
        (b"", b""),
    ],
    ids=["length", "chunks", "no body"],
)
async def test_an_upgrade_to_another_protocol_is_ignored(framing: bytes, body: bytes, cut: int | None) -> None:
    """As by `curl --http2` (RFC 9110 section 7.8): the body arrives, and so do further requests."""
    app = FastAPI()
    seen: list[bytes] = []

    async def take(request: Request) -> Response:
        seen.append(await request.body())
        return Response(b"taken")

    app.add_api_route("/take", take, methods=["POST"])
    upgrade = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    once = b"POST /take HTTP/1.1\r\n" + HOST + upgrade + framing + b"\r\n" + body
    last = b"POST /take HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: 4\r\n\r\nlast"
    async with running(app) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        data = once * 2 + last
        for at in range(0, len(data), cut or len(data)):
            writer.write(data[at : at + (cut or len(data))])
            await writer.drain()
        assert (await reader.read()).count(b"HTTP/1.1 200 ") == 3
        writer.close()
    assert seen == [body and b"body", body and b"body", b"last"]


@pytest.mark.parametrize(
    ("request_", "code", "problem"),
    [
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "bad_request", "what came is no HTTP request"),
        (with_headers(HEALTH, *[b"A: x"] * 150), "head_too_large", "a request has more than the 100 headers allowed"),
        (handshake("/ws?key=secret").replace(b"13", b"12"), "wrong_version", "the version of WebSocket is 13"),
    ],
)
async def test_a_refusal_is_counted_and_logged_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, request_: bytes, code: str, problem: str
) -> None:
    """Under a code of the closed table, with the path but not its query string, and without a traceback."""
    broadcaster = Node()
    monkeypatch.setattr(FanwiseHttpProtocol, "refused", staticmethod(broadcaster.tally.reject))
    caplog.set_level(logging.INFO)
    async with door(broadcaster) as live:
        await answer(live, request_)
    assert {name: count for name, count in broadcaster.tally.rejected.items() if count} == {code: 1}
    (line,) = [record for record in caplog.records if getattr(record, "code", "") == "refused"]
    assert line.__dict__["reason"] == problem
    assert "secret" not in line.getMessage()
    worse = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [one.getMessage() for one in worse if getattr(one, "code", "") != "loop_late"] == []  # of a busy machine


async def test_a_stop_in_the_midst_of_a_request_is_answered_with_503(caplog: pytest.LogCaptureFixture) -> None:
    """At once, with `Connection: close` and `Retry-After`, and without a traceback of the endpoint that waits."""
    app = FastAPI()
    begun = asyncio.Event()

    async def take(request: Request) -> None:
        begun.set()
        async for _ in request.stream():
            pass

    app.add_api_route("/take", take, methods=["POST"])
    async with running(app) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(b"POST /take HTTP/1.1\r\n" + HOST + b"Content-Length: 400\r\n\r\nhalf")
        await begun.wait()
        live.server.should_exit = True
        head = (await reader.read()).lower()
        writer.close()
    assert head.startswith(b"http/1.1 503 ")
    assert b"connection: close\r\n" in head
    assert b"retry-after: 5\r\n" in head
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_body_behind_its_answer_does_not_drip_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it comes: what is not wanted has one time limit for all of it."""
    monkeypatch.setattr(FanwiseHttpProtocol, "limits", Limits(body_seconds=0.2))
    async with door() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000\r\n\r\n")
        loop, drips = asyncio.get_running_loop(), []

        def drip() -> None:
            writer.write(b"x" * 2_000)
            drips.append(loop.call_later(0.02, drip))

        drip()
        with suppress(ConnectionResetError):
            assert (await reader.read()).count(b"HTTP/1.1 ") == 1
        drips[-1].cancel()
        writer.close()


async def test_a_body_above_the_rate_of_bytes_is_slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives whole."""
    monkeypatch.setattr(FanwiseHttpProtocol, "limits", Limits(bytes_per_second=200_000))
    app = FastAPI()

    async def take(request: Request) -> Response:
        return Response(str(len(await request.body())))

    app.add_api_route("/take", take, methods=["POST"])
    loop = asyncio.get_running_loop()
    async with running(app) as live:
        began = loop.time()
        got = await answer(
            live,
            b"POST /take HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: 600000\r\n\r\n" + b"x" * 600_000,
        )
        assert got.endswith(b"\r\n\r\n600000")
        assert loop.time() - began > 0.3


async def test_a_pipelining_peer_waits_for_its_turn() -> None:
    """All its requests are answered, in order, and others are served between any two."""
    async with door() as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(HEALTH * 200)
        assert b"200 OK" in await live.get("/healthz")
        for _ in range(200):
            assert (await reader.readuntil(b'"ok"}')).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_nothing_follows_the_answer_that_closes_a_connection() -> None:
    """Not even while it waits behind another answer, and the application still works on the request."""
    app = FastAPI()
    begun, refused, returned = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def large() -> Response:
        return Response(b"x" * 5_000_000)

    async def late() -> Response:
        begun.set()
        await refused.wait()
        return Response(b"late", background=BackgroundTask(returned.set))

    app.add_api_route("/large", large)
    app.add_api_route("/late", late, methods=["POST"])
    async with running(app) as live:
        with deaf(live) as sock:
            sock.sendall(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
            await until(lambda: bool(live.server.server_state.total_requests))
            sock.sendall(b"POST /late HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
            await begun.wait()
            (protocol,) = live.server.server_state.connections
            assert isinstance(protocol, FanwiseHttpProtocol)
            sock.sendall(b"no size\r\n")
            await until(protocol.transport.is_closing)
            protocol.flow.resume_writing()  # as below the mark, where the application need not wait
            refused.set()
            await returned.wait()
            reader, writer = await asyncio.open_connection(sock=sock.dup())
            got = await reader.read()
            writer.close()
        assert b"HTTP/1.1 400 " in got
        assert b"late" not in got


async def test_a_request_that_waits_for_its_turn_is_not_late() -> None:
    """The server is, when many come at once: the request is answered when its turn has come."""
    share = fair_share(asyncio.get_running_loop())
    async with running(FastAPI()) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        await until(lambda: len(live.server.server_state.connections) == 1)
        protocol: Any = next(iter(live.server.server_state.connections))
        share.spend(1_000_000)  # 8,000 turns of the loop
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await until(lambda: protocol._waiting != b"")
        protocol._late()
        share.spend(-1_000_000)
        assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
        writer.close()
