"""The door behind a backplane: it takes whoever need not wait for the engine, and leaves others to the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest

from fanwise import Broadcaster
from fanwise.app import create_app, door_of
from fanwise.settings import load_settings

from ..support.engines import RedisServer, redis_server
from ..support.live import Live, running, until
from .test_door import KEY, UPGRADE, answer, at_first
from .test_stream_door import HOST, LINE, taken
from .test_stream_door import answer as stream_answer

__all__ = ["at_first", "taken"]  # fixtures
pytestmark = pytest.mark.anyio
PLAIN = f"{HOST}\r\n{UPGRADE}\r\nSec-WebSocket-Key: {KEY}"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def options() -> dict[str, Any]:
    return {}


@pytest.fixture
async def live(server: RedisServer, options: dict[str, Any]) -> AsyncIterator[tuple[Live, Broadcaster]]:
    await server.ready()
    one = create_app(load_settings(backplane=server.url, **options))
    async with running(one, door=door_of(one), ours=True) as live:
        yield live, one.state.broadcaster


async def test_whoever_comes_first_waits_for_the_engine(live: tuple[Live, Broadcaster], at_first: list[bool]) -> None:
    """All others are taken where they come in, and have no task; both sides hear each other."""
    server, broadcaster = live
    a = await server.connect("/ws?channel=first")
    b = await server.connect("/ws?channel=first")
    assert at_first == [False, True]
    assert len(broadcaster) == 2
    for number in range(3):
        await (a, b)[number % 2].send(f"hello {number}")
        assert [await one.recv() for one in (a, b)] == [f"Message: hello {number}"] * 2
    await a.close()
    await b.close()


async def test_a_client_of_the_json_dialect_need_not_wait(live: tuple[Live, Broadcaster], at_first: list[bool]) -> None:
    """It is on no channel yet; its subscription waits for the engine."""
    server, _ = live
    websocket = await server.connect("/ws", subprotocols=["fanwise.v1"])
    assert at_first == [True]
    await websocket.send('{"op":"subscribe","channel":"json"}')
    operations = [orjson.loads(await websocket.recv())["op"] for _ in range(2)]
    assert operations == ["welcome", "subscribed"]
    await websocket.close()


async def test_what_is_here_is_given_at_the_door(live: tuple[Live, Broadcaster], taken: list[bool]) -> None:
    """A position that is ahead of this server, or of a log that it does not know, is a question to the engine."""
    server, broadcaster = live
    stays = await server.connect("/ws?channel=resumed")
    found = [await broadcaster.publish("resumed", str(number)) for number in range(4)]
    await until(lambda: broadcaster._hub.channel("resumed", time=0.0).log.head == 4)
    epoch = found[0].epoch
    for query, first, door in (
        (f"since={epoch}:2", b"2", True),
        (f"since={epoch}:0", b"0", True),
        ("last=1", b"3", True),
        (f"since={epoch}:9", b"0", False),
        ("since=other:1", b"0", False),
    ):
        taken.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET /sse/resumed?{query} HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        await reader.readuntil(b"data: " + first)
        writer.close()
        assert taken == [door], query
    await stays.close()


async def test_the_newest_are_given_at_the_door(live: tuple[Live, Broadcaster], at_first: list[bool]) -> None:
    """Also to WebSockets."""
    server, broadcaster = live
    stays = await server.connect("/ws?channel=newest")
    for number in range(4):
        await broadcaster.publish("newest", str(number))
    await until(lambda: broadcaster._hub.channel("newest", time=0.0).log.head == 4)
    at_first.clear()
    websocket = await server.connect("/ws?channel=newest&last=2")
    assert [await websocket.recv(), await websocket.recv()] == ["2", "3"]
    assert at_first == [True]
    await websocket.close()
    await stays.close()


async def test_while_a_channel_is_opened_anew_nobody_is_taken(
    live: tuple[Live, Broadcaster], at_first: list[bool]
) -> None:
    """Something of it is missing until the engine has answered."""
    server, broadcaster = live
    a = await server.connect("/ws?channel=anew")
    broadcaster.sharing._reopening.add("anew")
    try:
        assert not broadcaster.sharing.can_begin("anew", None)
        coming = asyncio.create_task(server.connect("/ws?channel=anew"))
        await until(lambda: at_first == [False, False])
        assert not coming.done()
        assert len(broadcaster) == 1
    finally:
        broadcaster.sharing._reopening.discard("anew")
        broadcaster.sharing._wake("anew", None)
    b = await coming
    await a.close()
    await b.close()


async def test_streams_come_in_by_the_door_too(live: tuple[Live, Broadcaster], taken: list[bool]) -> None:
    """With the same answer."""
    server, _ = live
    stays = await server.connect("/ws?channel=lobby")
    await stays.close()
    answers = [await stream_answer(server, line, HOST) for line in (LINE, LINE.replace("lobby", "unknown"))]
    assert taken == [False, True, False]  # the first is the handshake of the WebSocket
    assert answers[0][0] == answers[1][0]


@pytest.mark.parametrize("options", [{"channels": {"known": {}, "*": {"create": "nobody"}}}])
async def test_options_that_other_servers_are_asked_about_need_the_application(
    live: tuple[Live, Broadcaster], at_first: list[bool], taken: list[bool]
) -> None:
    """Also for channels that are open here."""
    server, _ = live
    a, b = await server.connect("/ws?channel=known"), await server.connect("/ws?channel=known")
    assert at_first == [False, False]
    assert b" 200 " in (await stream_answer(server, LINE.replace("lobby", "known"), HOST))[0][0]
    assert (await answer(server, "/ws?channel=other", PLAIN))[0].split()[1] in (b"403", b"404")
    assert True not in taken
    await a.close()
    await b.close()


async def test_what_comes_in_one_packet_is_published_once_and_in_its_order(live: tuple[Live, Broadcaster]) -> None:
    """Far more than may wait for the engine: some of it goes together, and some one by one. Others are served."""
    server, _ = live
    hears = await server.connect("/ws?channel=packet")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET /ws?channel=packet HTTP/1.1\r\n{PLAIN}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    texts = [b"%03d" % number for number in range(300)]
    writer.write(b"".join(b"\x81\x83\0\0\0\0" + text for text in texts))
    assert [await hears.recv() for _ in texts] == [f"Message: {text.decode()}" for text in texts]
    await hears.send("after")
    assert await hears.recv() == "Message: after"
    writer.close()
    await hears.close()
