from __future__ import annotations

import asyncio
from typing import Any

import hiredis
import pytest

from fanwise.backplane.redis.link import Link, LinkError

from ...support.engines import RedisServer
from ...support.live import until

pytestmark = pytest.mark.anyio


async def connect(server: RedisServer, story: list[Any]) -> Link:
    await server.ready()
    loop = asyncio.get_running_loop()
    lost: list[Link] = []
    _, link = await loop.create_unix_connection(lambda: Link(story.append, lost.append), str(server.socket))
    await link.ask("HELLO", 3)
    return link


async def test_replies_and_pushes_have_one_order(server: RedisServer) -> None:
    """A reply comes after what was pushed before it; errors are replies too."""
    story: list[Any] = []
    link = await connect(server, story)
    link.send_unanswered("SUBSCRIBE", "order")
    for number in range(3):
        link.send(story.append, "INCR", "order")
        await link.ask("EVAL", "return redis.call('PUBLISH', 'order', ARGV[1])", 0, f"push {number}")
    assert [one for one in story if isinstance(one, int)] == [1, 2, 3]
    assert [one for one in story if isinstance(one, bytes)] == [b"push 0", b"push 1", b"push 2"]
    with pytest.raises(hiredis.ReplyError, match="unknown command"):
        await link.ask("NONSENSE")
    link.abort()


async def test_who_waits_hears_that_the_link_is_lost(server: RedisServer) -> None:
    """At once, and so does who comes later."""
    link = await connect(server, [])
    waiting = asyncio.ensure_future(link.ask("BLPOP", "nothing", 0))
    await asyncio.sleep(0)
    link.abort()
    with pytest.raises(LinkError):
        await waiting
    with pytest.raises(LinkError):
        await link.ask("PING")
    link.abort()
    assert link.lost


async def test_a_paused_link_reads_no_further(server: RedisServer) -> None:
    """Not even what has come already; then everything comes."""
    story: list[Any] = []
    link = await connect(server, story)

    def heard(reply: Any) -> None:
        story.append(reply)
        if len(story) == 2:
            link.pause()

    for _ in range(4):
        link.send(heard, "INCR", "paused")
    link.send_unanswered("PING")
    await server.ask("PING")
    assert (story, link.paused) == ([1, 2], True)
    link._waiting.append(heard)
    link.resume()
    await link.ask("PING")
    assert story == [1, 2, 3, 4, b"PONG"]
    link.abort()


async def test_what_is_no_redis_ends_the_link() -> None:
    """And nobody waits for ever."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    loop = asyncio.get_running_loop()
    raised: list[Any] = []
    loop.set_exception_handler(lambda _, context: raised.append(context.get("exception")))
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        _, link = await loop.create_connection(lambda: Link(raised.append, lambda _: None), "127.0.0.1", port)
        with pytest.raises((LinkError, hiredis.HiredisError)):
            await link.ask("PING")
        assert link.lost
    loop.set_exception_handler(None)


async def test_a_reply_has_an_end(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than anything that servers send is not kept: the link is given up. Many replies are fine."""
    monkeypatch.setattr("fanwise.backplane.redis.link.MOST_REPLY_BYTES", 1_000_000)
    story: list[Any] = []
    one, two = await connect(server, []), await connect(server, story)
    two.send_unanswered("SUBSCRIBE", "large")
    await two.ask("PING")
    for _ in range(20):
        await one.ask("PUBLISH", "large", bytes(300_000))
    await until(lambda: len(story) == 20)
    assert not two.lost
    await one.ask("PUBLISH", "large", bytes(3_000_000))
    await until(lambda: two.lost)
    assert len(story) == 20
    one.abort()
