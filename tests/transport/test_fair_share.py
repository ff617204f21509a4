from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from fanwise.broadcaster.node import Node
from fanwise.transport.fair_share import (
    FRAME_BYTES,
    FRAMES_A_TURN,
    LEAST_FRAMES,
    REQUEST_FRAMES,
    FairShare,
    fair_share,
)
from fanwise.transport.leased_transport import LeasedTransport
from fanwise.transport.request_cutter import CHUNKS, RequestCutter
from fanwise.transport.websocket_connection import WebSocketConnection

from ..routes.test_json_session import serving
from ..support.live import echo, running, until

pytestmark = pytest.mark.anyio


class Flood:
    """A connection that always has more."""

    def __init__(self, share: FairShare) -> None:
        self._share = share
        self.parsed = 0
        self.stopped = False

    def go_on(self) -> None:
        if not self.stopped:
            self.parsed += self._share.frames
            self._share.wait(self.go_on)


@pytest.mark.parametrize("count", [1, 2, 10, 100])
async def test_a_turn_parses_so_much_however_many_want_to(count: int) -> None:
    """All of them get about as much as the others, and what is left is theirs again when they are gone."""
    share = fair_share(asyncio.get_running_loop())
    floods = [Flood(share) for _ in range(count)]
    for flood in floods:
        flood.go_on()
    began = sum(flood.parsed for flood in floods)
    assert began <= 4 * FRAMES_A_TURN + LEAST_FRAMES * count  # each share is smaller, down to the least
    for _ in range(200):
        before = sum(flood.parsed for flood in floods)
        await checkpoint()
        assert sum(flood.parsed for flood in floods) - before <= FRAMES_A_TURN
    assert min(flood.parsed for flood in floods) > 0.5 * max(flood.parsed for flood in floods) - FRAMES_A_TURN
    for flood in floods:
        flood.stopped = True
    for _ in range(count + 2):
        await checkpoint()
    assert share.frames == FRAMES_A_TURN


async def test_an_error_of_one_is_not_the_others() -> None:
    """The loop's own handler gets it."""
    loop = asyncio.get_running_loop()
    share, errors, called = fair_share(loop), [], asyncio.Event()
    loop.set_exception_handler(lambda _loop, context: errors.append(context["exception"]))

    def fail() -> None:
        raise ZeroDivisionError

    share.wait(fail)
    share.wait(called.set)
    await called.wait()
    assert [type(error) for error in errors] == [ZeroDivisionError]


async def test_two_requests_begin_in_a_turn() -> None:
    """Those that come first at once, and the others in the order in which they have come."""
    share, begun = fair_share(asyncio.get_running_loop()), list[int]()
    for number in range(7):
        if share.take(REQUEST_FRAMES):
            begun.append(number)
        else:
            share.wait(lambda number=number: begun.append(number), frames=REQUEST_FRAMES)  # type: ignore[misc]
    seen = [len(begun)]
    while len(begun) < 7:
        await checkpoint()
        seen.append(len(begun))
    assert begun == list(range(7))
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) == 2
    for _ in range(3):
        await checkpoint()
    assert share.take(REQUEST_FRAMES), "there is room again"


async def test_large_reads_share_a_turn_by_their_bytes() -> None:
    """Half a megabyte, in few reads or in many; the next turn has as much again."""
    share = fair_share(asyncio.get_running_loop())
    for size in (16_384, 262_144):
        assert [share.take_read(size) for _ in range(FRAMES_A_TURN * FRAME_BYTES // size)] == [True] * (
            FRAMES_A_TURN * FRAME_BYTES // size
        )
        assert not share.take_read(size)
        await checkpoint()
        await checkpoint()


async def test_reads_that_wait_count_by_their_bytes() -> None:
    """A turn lets as many go on reading as read half a megabyte, although nothing of it is parsed yet."""
    turn = 0
    gone_on: Counter[int] = Counter()  # {turn of the loop: connections}
    loop = asyncio.get_running_loop()
    go_on = LeasedTransport.release_reading
    part = b"\x82\xff" + (200_000).to_bytes(8) + bytes(4 + 131_072)

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    def release(transport: LeasedTransport) -> None:
        gone_on[turn] += not transport.is_reading()
        go_on(transport)

    asgi, broadcaster = echo(max_message_bytes=200_000, overflow="latest")
    async with running(asgi) as live:
        peers = [await live.raw() for _ in range(20)]
        await until(lambda: len(broadcaster) == len(peers))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LeasedTransport, "release_reading", release)
            count()
            for connection in live.websockets:
                connection.data_received(part)
            await until(lambda: sum(gone_on.values()) >= len(peers) - 4)
        assert max(gone_on.values()) <= FRAMES_A_TURN * FRAME_BYTES // len(part) + 1
        for peer in peers:
            peer.close()


async def test_chunks_of_many_requests_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many chunks a read has: a turn takes in those of two pieces, and the body is whole."""
    turn, count_of_chunks = 0, 2_000
    pieces: Counter[int] = Counter()  # {turn of the loop: pieces}
    cut, loop = RequestCutter.cut, asyncio.get_running_loop()

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    def note(cutter: RequestCutter, data: bytes, start: int) -> int:
        pieces[turn] += 1
        return cut(cutter, data, start)

    monkeypatch.setattr(RequestCutter, "cut", note)
    async with serving(Node()) as live:
        count()
        peers = [await asyncio.open_connection("127.0.0.1", live.port) for _ in range(5)]
        head = b"POST /publish/a HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _, writer in peers:
            writer.write(head + b"1\r\nx\r\n" * count_of_chunks + b"0\r\n\r\n")
        for reader, writer in peers:
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            writer.close()
    assert sum(pieces.values()) >= len(peers) * count_of_chunks // CHUNKS
    assert max(pieces.values()) <= 4, "a head, and the first piece of its body, of two connections"


async def test_large_frames_of_many_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections have read one: a turn takes in half a megabyte, and at most one frame more."""
    turn, size = 0, 200_000
    taken: Counter[int] = Counter()  # {turn of the loop: bytes}
    deliver = WebSocketConnection.deliver
    loop = asyncio.get_running_loop()

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    def note(connection: WebSocketConnection, kind: Any, payload: bytes) -> None:
        taken[turn] += len(payload)
        deliver(connection, kind, payload)

    monkeypatch.setattr(WebSocketConnection, "deliver", note)
    asgi, broadcaster = echo(max_message_bytes=size, overflow="latest")
    async with running(asgi) as live:
        peers = [await live.raw() for _ in range(20)]
        await until(lambda: len(broadcaster) == len(peers))
        count()
        frame = b"\x82\xff" + size.to_bytes(8) + bytes(4 + size)
        for connection in live.websockets:
            connection.data_received(frame)
        await until(lambda: sum(taken.values()) == len(peers) * size)
        assert max(taken.values()) <= FRAMES_A_TURN * FRAME_BYTES + size
        for peer in peers:
            peer.close()
