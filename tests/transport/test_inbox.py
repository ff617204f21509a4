from __future__ import annotations

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.sink import Received
from fanwise.core.publication import Kind
from fanwise.transport.inbox import Inbox

pytestmark = pytest.mark.anyio


class Peer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def inbox(self, *, high_messages: int = 3, high_bytes: int = 10) -> Inbox:
        return Inbox(
            pause=lambda: self.calls.append("pause"),
            resume=lambda: self.calls.append("resume"),
            high_messages=high_messages,
            high_bytes=high_bytes,
        )


async def test_messages_come_out_as_they_went_in() -> None:
    """In order, with their kinds, and then the end."""
    inbox = Peer().inbox()
    inbox.put(Kind.TEXT, b"a")
    inbox.put(Kind.BINARY, b"b")
    inbox.end()
    inbox.put(Kind.TEXT, b"too late")
    assert [message async for message in inbox] == [(Kind.TEXT, b"a"), (Kind.BINARY, b"b")]


async def test_a_waiting_reader_is_woken() -> None:
    """By a message, and by the end."""
    inbox = Peer().inbox()
    got: list[Received] = []

    async def read() -> None:
        async for message in inbox:
            got.append(message)  # noqa: PERF401 - each as it comes

    task = asyncio.create_task(read())
    await checkpoint()
    inbox.put(Kind.TEXT, b"a")
    inbox.put(Kind.BINARY, b"b")  # wakes nobody: the reader is awake
    await checkpoint()
    assert got == [(Kind.TEXT, b"a"), (Kind.BINARY, b"b")]
    inbox.put(Kind.TEXT, b"c")
    await checkpoint()
    assert len(got) == 3
    inbox.end()
    await task
    assert len(got) == 3


@pytest.mark.parametrize("messages", [[b"a", b"b", b"c"], [b"a" * 10]])
async def test_a_peer_that_sends_more_than_is_read_is_paused(messages: list[bytes]) -> None:
    """At either bound the peer is paused once, and resumed when the inbox is empty."""
    peer = Peer()
    inbox = peer.inbox()
    for message in messages:
        inbox.put(Kind.TEXT, message)
    inbox.put(Kind.TEXT, b"more")
    assert peer.calls == ["pause"]
    for _ in messages:
        await anext(inbox)
        assert peer.calls == ["pause"]
    await anext(inbox)
    assert peer.calls == ["pause", "resume"]


async def test_a_cancelled_reader_loses_nothing() -> None:
    """A message that comes after the reader was cancelled is there for the next one."""
    inbox = Peer().inbox()
    task = asyncio.ensure_future(anext(inbox))
    await checkpoint()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    inbox.put(Kind.TEXT, b"a")
    assert await anext(inbox) == (Kind.TEXT, b"a")


async def test_who_sends_thousands_at_once_does_not_keep_the_loop() -> None:
    """The reader gives it back now and then, however many messages are here."""
    inbox = Inbox(pause=lambda: None, resume=lambda: None)
    for _ in range(1000):
        inbox.put(Kind.TEXT, b"x")
    read: list[int] = []

    async def reader() -> None:
        async for _ in inbox:
            read[-1] += 1

    task = asyncio.create_task(reader())
    while sum(read) < 1000:
        read.append(0)
        await checkpoint()
    assert 0 < max(read) <= 128
    inbox.end()
    await task
