from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from fanwise.transport.leased_transport import LeasedTransport

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def leased(*, debug: bool = False) -> AsyncIterator[tuple[LeasedTransport, list[str], socket.socket]]:
    """A transport over a socket pair, what was heard of the end of its lease, and the other end."""
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    heard: list[str] = []
    made = LeasedTransport(transport, on_end=lambda: heard.append("ended"), debug=debug)
    try:
        yield made, heard, theirs
    finally:
        transport.abort()
        theirs.close()


@pytest.mark.parametrize(
    "take",
    [
        lambda transport: transport.close(),
        lambda transport: transport.abort(),
        lambda transport: transport.write_eof(),
        lambda transport: transport.set_protocol(asyncio.Protocol()),
        lambda transport: transport.released(),
        lambda transport: LeasedTransport(transport, on_end=lambda: None),
    ],
    ids=["close", "abort", "write_eof", "set_protocol", "released", "another lease"],
)
async def test_whatever_takes_the_transport_away_ends_the_lease(take: Callable[[LeasedTransport], Any]) -> None:
    """In the same call, and once."""
    async with leased() as (transport, heard, _):
        take(transport)
        assert transport.lease.ended
        transport.close()
        assert heard == ["ended"]


async def test_a_protocol_whose_transport_was_taken_finds_it_closed() -> None:
    """What it still does to it reaches nobody."""
    async with leased() as (transport, _, theirs):
        theirs.setblocking(False)
        transport.set_protocol(asyncio.Protocol())
        transport.write(b"x")
        transport.pause_reading()
        transport.resume_reading()
        transport.close()
        transport.abort()
        assert (transport.is_closing(), transport.is_reading(), transport.get_write_buffer_size()) == (True, False, 0)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


async def test_it_is_a_transport_like_any_other() -> None:
    """What does not take it away goes through."""
    async with leased() as (transport, heard, theirs):
        transport.writelines([b"a", b"b"])
        transport.write(b"c")
        await asyncio.sleep(0)
        assert theirs.recv(3) == b"abc"
        transport.report_every_byte()
        assert transport.get_write_buffer_limits() == (0, 0)
        assert transport.can_write_eof()
        assert isinstance(transport.get_protocol(), asyncio.Protocol)
        assert cast("socket.socket", transport.get_extra_info("socket")).fileno() == transport.lease.descriptor
        assert heard == []


async def test_in_debug_mode_it_names_the_socket() -> None:
    """By what the system calls it, not by its number."""
    async with leased(debug=True) as (transport, _, _theirs):
        assert transport.lease.descriptor is not None
        assert transport.lease.identity == os.fstat(transport.lease.descriptor).st_ino
