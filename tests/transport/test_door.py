"""The door, as newcomers and uvicorn's protocol class ask it, and the long way give the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, ClassVar

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from fanwise import Broadcaster
from fanwise.app import create_app, door_of
from fanwise.settings import load_settings
from fanwise.transport.http_protocol import FanwiseHttpProtocol
from fanwise.transport.newcomer import Newcomers

from ..support.live import Live, running, until
from .test_stream_door import FORWARDED

pytestmark = pytest.mark.anyio
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HOST = "Host: 127.0.0.1"
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
PLAIN = f"{HOST}\r\n{UPGRADE}\r\nSec-WebSocket-Key: {KEY}"
# {name: (target, fields, whether the door takes it)}
HANDSHAKES = {
    "plain": ("/ws", PLAIN, True),
    "channel": ("/ws?channel=news%2Fworld&x=1", PLAIN, True),
    "JSON": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Protocol: other, fanwise.v1", True),
    "subprotocols in two fields": (
        "/ws",
        f"{PLAIN}\r\nSec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: fanwise.v1",
        True,
    ),
    "another subprotocol": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Protocol: other", True),
    "extensions": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Extensions: permessage-deflate", True),
    "keep-alive": ("/ws", PLAIN.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade"), True),
    "upper case": ("/ws", PLAIN.replace("websocket\r\n", "WebSocket\r\n"), True),
    "its own page": ("/ws", f"{PLAIN}\r\nOrigin: http://127.0.0.1", True),
    "a path in escapes": ("/%77s", PLAIN, True),
    "odd case": (
        "/ws",
        PLAIN.replace("Sec-WebSocket-Key", "SEC-websocket-kEY").replace("Connection:", "cONNECTION:"),
        True,
    ),
    "a list of subprotocols with gaps": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Protocol: a,,\tfanwise.v1 ,", True),
    "a subprotocol twice": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Protocol: fanwise.v1, fanwise.v1", True),
    "a key in the query": ("/ws?key=the-key", PLAIN, True),
    "two channels": ("/ws?channel=a&channel=b", PLAIN, True),
    "an empty query": ("/ws?", PLAIN, True),
    "its own page, with the port": ("/ws", f"{PLAIN}\r\nOrigin: HTTP://127.0.0.1:80", True),
    "no host": ("/ws", UPGRADE + f"\r\nSec-WebSocket-Key: {KEY}", True),
    "95 more fields": ("/ws", PLAIN + "".join(f"\r\nX-{number}: y" for number in range(95)), True),
    "a field of 7,900 bytes": ("/ws", f"{PLAIN}\r\nCookie: {'y' * 7_900}", True),
    "no subprotocol in the field": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Protocol: ,", False),
    "a subprotocol that is no token": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Protocol: a/b, fanwise.v1", False),
    "a subprotocol with a parameter": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Protocol: fanwise.v1;x=1", False),
    "a subprotocol behind a wide space": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Protocol: \xa0fanwise.v1", False),
    "two pages": ("/ws", f"{PLAIN}\r\nOrigin: http://127.0.0.1\r\nOrigin: http://evil.com", False),
    "no page": ("/ws", f"{PLAIN}\r\nOrigin: null", False),
    "other tokens of the connection": ("/ws", PLAIN.replace("Connection: Upgrade", "Connection: foo, Upgrade"), False),
    "two fields of the connection": ("/ws", f"{PLAIN}\r\nConnection: keep-alive", False),
    "two versions": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Version: 13", False),
    "a key of another alphabet": ("/ws", PLAIN.replace(KEY, "____IHNhbXBsZSBub25jZQ=="), False),
    "a slash more": ("//ws", PLAIN, False),
    "a question mark in escapes": ("/ws%3Fchannel=a", PLAIN, False),
    "a fragment": ("/ws#ws", PLAIN, False),
    "a whole URL": ("http://127.0.0.1/ws", PLAIN, False),
    "a channel in Latin-1": ("/ws?channel=\xe9", PLAIN, False),
    "a page of another host": ("/ws", f"{PLAIN}\r\nOrigin: http://evil.com", False),
    "another host": ("/ws", PLAIN.replace("127.0.0.1", "evil.com"), False),
    "a bad channel": ("/ws?channel=%00", PLAIN, False),
    "an empty channel": ("/ws?channel=", PLAIN, False),
    "no key": ("/ws", f"{HOST}\r\n{UPGRADE}", False),
    "two keys": ("/ws", f"{PLAIN}\r\nSec-WebSocket-Key: {KEY}", False),
    "a short key": ("/ws", PLAIN.replace(KEY, "short"), False),
    "a key that is not base64": ("/ws", PLAIN.replace(KEY, "!" * 24), False),
    "no version": ("/ws", PLAIN.replace("Sec-WebSocket-Version: 13\r\n", ""), False),
    "another version": ("/ws", PLAIN.replace("Version: 13", "Version: 8"), False),
    "another path": ("/ws/", PLAIN, False),
    "no route": ("/nowhere", PLAIN, False),
}

# Those that uvicorn's parser is not needed for.
FIRST_READ = {
    "plain",
    "channel",
    "JSON",
    "another subprotocol",
    "extensions",
    "keep-alive",
    "upper case",
    "its own page",
    "odd case",
    "a subprotocol twice",
    "a key in the query",
    "two channels",
    "an empty query",
    "its own page, with the port",
    "95 more fields",
}
GET = b"GET /ws HTTP/1.1\r\n"
HEAD = PLAIN.encode()
END = b"\r\n\r\n"
# {name: all that is sent}, of which a parser could make more than one thing
UNUSUAL = {
    "no space": GET + HEAD.replace(b"Host: ", b"Host:") + END,
    "two spaces": GET + HEAD.replace(b"Host: ", b"Host:  ") + END,
    "a tab": GET + HEAD.replace(b"Host: ", b"Host:\t") + END,
    "spaces behind": GET + HEAD + b"\r\nX-A: b  " + END,
    "a space before the colon": GET + HEAD.replace(b"Host: ", b"Host : ") + END,
    "a folded field": GET + HEAD + b"\r\nX-A: b\r\n c" + END,
    "a line feed alone": GET + HEAD + b"\r\nX-A: b\nX-B: c" + END,
    "a carriage return alone": GET + HEAD + b"\r\nX-A: b\rX-B: c" + END,
    "a NUL": GET + HEAD + b"\r\nX-A: b\x00c" + END,
    "latin-1": GET + HEAD + b"\r\nX-A: \xe9" + END,
    "no name": GET + HEAD + b"\r\n: b" + END,
    "no colon": GET + HEAD + b"\r\nX-A" + END,
    "a bracket in a name": GET + HEAD + b"\r\nX(A): b" + END,
    "an empty value": GET + HEAD + b"\r\nX-A: " + END,
    "an empty host": GET + HEAD.replace(b"127.0.0.1", b"") + END,
    "no host": GET + HEAD.replace(b"Host: 127.0.0.1\r\n", b"") + END,
    "two hosts": GET + HEAD + b"\r\nHost: 127.0.0.1" + END,
    "a body": GET + HEAD + b"\r\nContent-Length: 1" + END + b"x",
    "an empty body": GET + HEAD + b"\r\nContent-Length: 0" + END,
    "chunks": GET + HEAD + b"\r\nTransfer-Encoding: chunked" + END + b"0" + END,
    "an expectation": GET + HEAD + b"\r\nExpect: 100-continue" + END,
    "bytes behind": GET + HEAD + END + b"x",
    "another request behind": GET + HEAD + END + GET + HEAD + END,
    "HTTP/1.0": GET.replace(b"1.1", b"1.0") + HEAD + END,
    "HTTP/2.0": GET.replace(b"1.1", b"2.0") + HEAD + END,
    "POST": GET.replace(b"GET", b"POST") + HEAD + END,
    "a whole URL": GET.replace(b"/ws", b"http://127.0.0.1/ws") + HEAD + END,
    "a fragment": GET.replace(b"/ws", b"/ws#x") + HEAD + END,
    "a quote in the target": GET.replace(b"/ws", b'/ws?channel="a') + HEAD + END,
    "a space in the target": GET.replace(b"/ws", b"/ws x") + HEAD + END,
    "empty lines before": b"\r\n\r\n" + GET + HEAD + END,
    "many fields": GET + HEAD + b"".join(b"\r\nX-%d: b" % number for number in range(101)) + END,
    "a long field": GET + HEAD + b"\r\nX-A: " + b"b" * 8_100 + END,
    "a long head": GET + HEAD + b"\r\nX-A: " + b"b" * 17_000 + END,
    "another protocol": GET + HEAD.replace(b"websocket", b"h2c") + END,
    "no HTTP": b"hello" + END,
}


async def answer(live: Live, target: str, fields: str) -> list[bytes]:
    """The lines of the answer, in an order of their own, without the date."""
    return await answer_to(live, f"GET {target} HTTP/1.1\r\n{fields}\r\n\r\n".encode("latin-1"))


async def answer_to(live: Live, data: bytes) -> list[bytes]:
    """The lines of the answer to what is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    try:
        writer.write(data)
        head = await reader.readuntil(END)
    finally:
        writer.close()
    status, *lines = head.strip().split(b"\r\n")
    return [status, *sorted(line.lower() for line in lines if not line.lower().startswith(b"date"))]


@pytest.fixture
def at_first(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the door has taken the first read of each connection that came through our acceptor."""
    seen: list[bool] = []
    enter = Newcomers.enter

    def note(self: Newcomers, *given: Any) -> bool:
        seen.append(enter(self, *given))
        return seen[-1]

    monkeypatch.setattr(Newcomers, "enter", note)
    return seen


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the door has taken each handshake that was shown to it."""
    seen: list[bool] = []
    enter = FanwiseHttpProtocol._enter

    def note(self: FanwiseHttpProtocol) -> bool:
        seen.append(enter(self))
        return seen[-1]

    monkeypatch.setattr(FanwiseHttpProtocol, "_enter", note)
    return seen


@cache
def usual() -> FastAPI:
    """One application, whose broadcaster is started and stopped by each server."""
    return create_app(load_settings())


@asynccontextmanager
async def all_ways(one: FastAPI) -> AsyncIterator[list[Live]]:
    """Three servers of one application: newcomers ask the door, uvicorn's protocol class asks it, nobody does."""
    async with (
        running(one, door=door_of(one), ours=True) as at_first,
        running(one, door=door_of(one)) as door,
        running(one) as long_way,
    ):
        yield [at_first, door, long_way]


async def test_the_answer_is_the_same_either_way(taken: list[bool], at_first: list[bool]) -> None:
    """For handshakes of all kinds; those that are plain and allowed need no application."""
    async with all_ways(usual()) as servers:
        for name, (target, fields, plain) in HANDSHAKES.items():
            taken.clear()
            at_first.clear()
            answers = [await answer(live, target, fields) for live in servers]
            assert answers[0] == answers[1] == answers[2], name
            assert (True in taken) is plain, name
            assert at_first == [name in FIRST_READ], name


async def test_what_could_be_read_in_two_ways_is_left_to_the_parser(at_first: list[bool]) -> None:
    """Which gives the same answer."""
    async with all_ways(usual()) as servers:
        for name, data in UNUSUAL.items():
            answers = [await answer_to(live, data) for live in servers]
            assert answers[0] == answers[1] == answers[2], name
        assert True not in at_first


@pytest.mark.parametrize("trusted", ["127.0.0.1", "192.0.2.1"])
async def test_what_trusted_proxies_say_counts_either_way(
    taken: list[bool], at_first: list[bool], trusted: str
) -> None:
    """What they said is read where uvicorn has parsed the handshake; without it, the first read is enough."""
    one = create_app(load_settings(trusted_proxies=[trusted]))
    async with all_ways(one) as servers:
        for fields in FORWARDED:
            taken.clear()
            at_first.clear()
            answers = [await answer(live, "/ws", PLAIN + fields) for live in servers]
            assert answers[0] == answers[1] == answers[2], fields
            assert (True in taken) is (b" 101 " in answers[0][0]), fields
            assert at_first == [b" 101 " in answers[0][0] and "X-Forwarded" not in fields], fields
        for live in servers:
            address = await forwarded_address(one.state.broadcaster, live)
            assert address.startswith("198.51.100.7:0" if trusted == "127.0.0.1" else "127.0.0.1:")


async def forwarded_address(broadcaster: Broadcaster, live: Live) -> str:
    """The address of the one client, which a proxy names."""
    await until(lambda: len(broadcaster) == 0)
    websocket = await live.connect(additional_headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.7"})
    (client,) = broadcaster.statistics().clients
    await websocket.close()
    return client.address


@pytest.mark.parametrize("key", ["the-right-key", "the-wrong-key"])
async def test_the_key_is_looked_for(taken: list[bool], key: str) -> None:
    """A wrong one is refused the long way."""
    one = create_app(load_settings(api_key="the-right-key"))
    async with running(one, door=door_of(one)) as live:
        lines = await answer(live, "/ws", f"{PLAIN}\r\nAuthorization: Bearer {key}")
    assert lines[0].split()[1] == (b"101" if key == "the-right-key" else b"401")
    assert taken == [key == "the-right-key"]


async def test_a_client_of_the_door_is_a_client() -> None:
    """It is served, counted and closed like the others, and needs no task."""
    one = create_app(load_settings())
    async with running(one, door=door_of(one)) as live:
        broadcaster, tasks = one.state.broadcaster, len(asyncio.all_tasks())
        a, b = await live.connect(), await live.connect()
        assert len(live.server.server_state.tasks) == 0
        await a.send("hello")
        assert [await a.recv(), await b.recv()] == ["Message: hello"] * 2
        assert len(broadcaster) == 2
        await a.close()
        await b.close()
        await until(lambda: len(broadcaster) == 0 and not live.websockets)
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        assert broadcaster.statistics().closed == {"normal": 2}


async def test_a_full_server_refuses_at_the_door(taken: list[bool]) -> None:
    """With 503, whoever says so."""
    one = create_app(load_settings(max_clients=1))
    async with running(one, door=door_of(one)) as live, await live.connect():
        assert (await answer(live, "/ws", PLAIN))[0].split()[1] == b"503"
    assert taken == [True, False]


async def test_middleware_sees_each_handshake() -> None:
    """Also middleware that is added when the application is made already."""

    class Watching:
        seen: ClassVar[list[str]] = []

        def __init__(self, inner: ASGIApp) -> None:
            self._inner = inner

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.seen.append(scope["type"])
            await self._inner(scope, receive, send)

    one = create_app(load_settings())
    assert door_of(one) is not None
    one.add_middleware(Watching)
    assert door_of(one) is None
    async with running(one, door=door_of(one)) as live, await live.connect():
        assert "websocket" in Watching.seen
