"""Against a server that says what the test wants it to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fanwise.backplane.nats.link import LINE_BYTES, Delivery, Link, LinkError

from ...support.live import until

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]


class Pair:
    """A link, and the server's end of its connection."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.link = link
        self.reader = reader
        self.writer = writer
        self.heard: list[Delivery | Exception] = []


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    server = await asyncio.start_server(lambda *streams: accepted.set_result(streams), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    losses: list[Link] = []
    _, link = await asyncio.get_running_loop().create_connection(lambda: Link("_IN", losses.append), host, port)
    pair = Pair(link, *await accepted)
    try:
        yield pair
    finally:
        link.abort()
        pair.writer.close()
        server.close()
    assert losses == [link]


async def test_messages_come_in_pieces(pair: Pair) -> None:
    """With and without headers, replies and payloads; each is handed over once, in order."""
    pair.link.subscribe("a.*", pair.heard.append)
    text = b"MSG a.b 1 5\r\nhello\r\nMSG a.c 1 back 0\r\n\r\nHMSG a.d 1 12 14\r\nNATS/1.0\r\n\r\n\r\n\r\n"
    text += b"HMSG a.e 1 re.ply 48 48\r\nNATS/1.0 100 FlowControl Request\r\nKey: value\r\n\r\n\r\nPING\r\n"
    for at in range(0, len(text), 7):
        pair.writer.write(text[at : at + 7])
        await pair.writer.drain()
        await asyncio.sleep(0)
    assert await pair.reader.readuntil(b"PONG\r\n") == b"SUB a.* 1\r\nPONG\r\n"
    assert pair.heard == [
        Delivery(b"a.b", b"", 0, b"", b"hello"),
        Delivery(b"a.c", b"back", 0, b"", b""),
        Delivery(b"a.d", b"", 0, b"\r\n", b"\r\n"),
        Delivery(b"a.e", b"re.ply", 100, b"Key: value\r\n\r\n", b""),
    ]


async def test_a_reply_goes_to_its_question(pair: Pair) -> None:
    """In whatever order they come; those that did not come are errors when the link is lost."""
    pair.writer.write(b'INFO {"version": "2.10.1"}\r\n')
    await pair.link.greeted
    greeting = asyncio.ensure_future(pair.link.greet({"verbose": False}))
    assert await pair.reader.readuntil(b"PING\r\n") == b'CONNECT {"verbose":false}\r\nPING\r\n'
    pair.writer.write(b"PONG\r\n")
    await greeting
    assert (pair.link.info, await pair.reader.readline()) == ({"version": "2.10.1"}, b"SUB _IN.r.* 1\r\n")
    one, two, three = (
        asyncio.ensure_future(pair.link.ask(f"q.{n}", b"%d" % n, b"A: b\r\n" * (n == 2))) for n in (1, 2, 3)
    )
    asked = await pair.reader.readuntil(b" 1\r\n3\r\n")
    assert b"PUB q.1 _IN.r.1 1\r\n1\r\nHPUB q.2 _IN.r.2 18 19\r\nNATS/1.0\r\nA: b\r\n\r\n2\r\n" in asked
    pair.writer.write(b"MSG _IN.r.2 1 3\r\ntwo\r\nMSG _IN.r.1 1 3\r\none\r\nMSG _IN.r.9 1 3\r\nold\r\n")
    assert ((await two).data, (await one).data) == (b"two", b"one")
    pair.writer.write(b"-ERR 'Stale Connection'\r\n")
    pair.writer.close()
    with pytest.raises(LinkError, match="Stale Connection"):
        await three
    with pytest.raises(LinkError):
        await pair.link.ask("q")
    with pytest.raises(LinkError):
        await pair.link.ping()


async def test_a_paused_link_reads_no_further(pair: Pair) -> None:
    """Not even what it has; the rest comes when it is resumed."""

    def heard(delivery: Delivery) -> None:
        pair.heard.append(delivery)
        pair.link.pause()

    sid = pair.link.subscribe("a", heard)
    pair.writer.write(b"MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n")
    await until(lambda: pair.link.paused)
    assert len(pair.heard) == 1
    pair.link.resume()
    await until(lambda: len(pair.heard) == 2)
    pair.link.unsubscribe(sid)
    pair.link.resume()
    pair.writer.write(b"MSG a 1 1\r\n3\r\nPING\r\n")
    assert (await pair.reader.readuntil(b"PONG\r\n")).endswith(b"UNSUB 1\r\nPONG\r\n")
    assert len(pair.heard) == 2


async def test_an_endless_line_ends_the_link(pair: Pair) -> None:
    """It would fill the memory."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    pair.writer.write(b"x" * (LINE_BYTES + 1))
    await until(lambda: pair.link.lost)
