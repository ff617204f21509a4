"""What `test_front_door.py` does not show: clocks that must not end anything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar, cast

import pytest

from fanwise.transport.deadlines import BODY_BYTES, Deadlines
from fanwise.transport.limits import Limits

from ..support.live import until

pytestmark = pytest.mark.anyio


class Place(asyncio.Protocol):
    """Deadlines over a real transport, and how often they were missed."""

    made: ClassVar[list[Place]] = []

    def __init__(self, theirs: socket.socket | None) -> None:
        self.theirs = theirs
        self.late = 0
        self.transport: asyncio.Transport
        self.deadlines: Deadlines

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.made.append(self)
        self.deadlines = Deadlines(
            asyncio.get_running_loop(),
            self.transport,
            late=self._late,
            limits=Limits(head_seconds=0.02, body_seconds=0.02),
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadlines.stop()

    def _late(self) -> None:
        self.late += 1


@asynccontextmanager
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    for name in ("STALL_SECONDS", "CLOSE_SECONDS"):
        monkeypatch.setattr(f"fanwise.transport.deadlines.{name}", 0.02)
    ours, theirs = socket.socketpair()
    _, made = await asyncio.get_running_loop().create_connection(lambda: Place(theirs), sock=ours)
    made.made.clear()
    yield made
    made.deadlines.stop()
    made.transport.close()
    theirs.close()


async def passed(count: int) -> None:
    """Returns when so many deadlines would have passed."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(0.02 * count, done.set_result, None)
    await done


async def test_what_came_in_time_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what nobody waits for any more."""
    async with place(monkeypatch) as here:
        here.deadlines.expect_head()
        here.deadlines.expect_nothing()
        here.deadlines.expect_progress()
        here.deadlines.flushed()
        await passed(3)
        assert (here.late, here.transport.is_closing()) == (0, False)


async def test_a_body_that_comes_at_its_pace_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock starts anew; once nothing comes, it is late."""
    async with place(monkeypatch) as here:
        here.deadlines.expect_body()
        here.deadlines.body_came(BODY_BYTES)
        await passed(1)
        assert here.late == 0
        await until(lambda: here.late == 1)


async def test_while_nobody_reads_a_body_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the application that lets the peer wait."""
    async with place(monkeypatch) as here:
        here.transport.pause_reading()
        here.deadlines.expect_body()
        await passed(3)
        assert here.late == 0


async def test_what_is_not_flushed_after_the_end_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was waited for before."""
    async with place(monkeypatch) as here:
        here.deadlines.expect_head()
        here.deadlines.expect_end()
        await until(here.transport.is_closing)
        assert here.late == 0


async def test_what_is_taken_after_the_end_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that takes: a slow reader gets its answer whole, also when the connection closes behind it."""
    async with place(monkeypatch) as here:
        monkeypatch.setattr("fanwise.transport.deadlines.CLOSE_SECONDS", 0.2)
        size, got, theirs = 3_000_000, 0, here.theirs
        assert theirs is not None
        here.transport.write(b"x" * size)
        here.deadlines.expect_end()
        here.transport.close()
        while part := theirs.recv(300_000):
            got += len(part)
            await passed(3)
        assert got == size


async def test_a_reader_that_takes_little_is_making_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel acknowledges what it takes, long before the buffer in user space shrinks."""
    monkeypatch.setattr("fanwise.transport.deadlines.STALL_SECONDS", 1.0)
    loop = asyncio.get_running_loop()
    Place.made.clear()
    server = await loop.create_server(lambda: Place(None), "127.0.0.1", 0)
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(server.sockets[0].getsockname())
        await until(lambda: bool(Place.made))
        (here,) = Place.made
        here.transport.write(b"x" * 8_000_000)
        here.deadlines.expect_progress()
        end, sizes = loop.time() + 3, set()
        while loop.time() < end:
            peer.recv(2_000)
            sizes.add(here.transport.get_write_buffer_size())
            await passed(5)
        progressing = not here.transport.is_closing()
        await until(here.transport.is_closing)  # once it takes nothing
    server.close()
    assert progressing
    assert len(sizes) < 10


async def test_an_abort_that_was_announced_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first time that was given, whatever the peer takes meanwhile."""
    async with place(monkeypatch) as here:
        here.deadlines.abort_after(0.02)
        here.deadlines.abort_after(60)
        await until(here.transport.is_closing)


async def test_the_rest_of_an_answered_body_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes of it does not move it."""
    async with place(monkeypatch) as here:
        here.deadlines.expect_rest()
        here.deadlines.body_came(10 * BODY_BYTES)
        await until(lambda: here.late == 1)


async def test_a_stopped_clock_stays_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that ends behind it, because the transport is another protocol's now, sets no clock for its end."""
    async with place(monkeypatch) as here:
        here.deadlines.stop()
        here.deadlines.expect_end()
        await passed(3)
        assert not here.transport.is_closing()
