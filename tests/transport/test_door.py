"""The door and the long way give the same answers."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from fanwise.app import create_app, door_of
from fanwise.serve import build_config
from fanwise.settings import load_settings
from fanwise.transport.http_protocol import FanwiseHttpProtocol

from ..support.live import Live, running, until

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


async def answer(live: Live, target: str, fields: str) -> list[bytes]:
    """The lines of the answer, in an order of their own, without the date."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(f"GET {target} HTTP/1.1\r\n{fields}\r\n\r\n".encode("latin-1"))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    status, *lines = head.strip().split(b"\r\n")
    return [status, *sorted(line.lower() for line in lines if not line.lower().startswith(b"date"))]


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


def app() -> FastAPI:
    return create_app(load_settings())


async def test_the_answer_is_the_same_either_way(taken: list[bool]) -> None:
    """For handshakes of all kinds; those that are plain and allowed need no application."""
    through, around = app(), app()
    async with running(through, door=door_of(through)) as door, running(around) as long_way:
        for name, (target, fields, plain) in HANDSHAKES.items():
            taken.clear()
            answers = [await answer(door, target, fields), await answer(long_way, target, fields)]
            assert answers[0] == answers[1], name
            assert (True in taken) is plain, name


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
    one = app()
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

    settings = load_settings()
    one = create_app(settings)
    assert door_of(one) is not None
    one.add_middleware(Watching)
    assert vars(build_config(settings, one).http)["door"] is None
    async with running(one, door=door_of(one)) as live, await live.connect():
        assert "websocket" in Watching.seen
