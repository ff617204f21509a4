from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import pytest

from fanwise.broadcaster.node import Node
from fanwise.core.codes import ErrorCode
from fanwise.routes.streams import PIECE_BYTES, LongAnswers

from ..support.live import Live, until
from .test_json_session import serving

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]

FAST = pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])
HISTORY = "/channels/a/history?limit=1000"


async def ask_and_read_nothing(live: Live, path: str = HISTORY) -> socket.socket:
    """A connection whose answer nobody reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", live.port))
    await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return sock


def buffered_bytes(live: Live) -> list[int]:
    """What waits in user space, for each connection."""
    return [protocol.transport.get_write_buffer_size() for protocol in live.server.server_state.connections]


@FAST
async def test_an_answer_that_nobody_reads_is_not_in_memory(fast: bool) -> None:
    """What waits is a few pieces, however long the answer is; one that is read is whole."""
    broadcaster = Node()
    async with serving(broadcaster, fast=fast) as live:
        for number in range(1000):
            await broadcaster.publish("a", f"{number:04d}" * 1000)
        unread = [await ask_and_read_nothing(live) for _ in range(5)]
        await until(lambda: sum(bytes_ > 0 for bytes_ in buffered_bytes(live)) == 5)
        for _ in range(200):  # turns in which a server that does not wait would write it all
            await asyncio.sleep(0)
        answer = await live.request("GET", HISTORY)
        assert [message["offset"] for message in answer.json["messages"]] == list(range(1, 1001))
        assert max(buffered_bytes(live)) < 150_000
        for sock in unread:
            sock.close()


async def test_long_answers_have_a_share_of_the_memory() -> None:
    """A quarter of it: what is beyond is refused, counted, and has its turn when another is done."""
    broadcaster = Node(memory_bytes=8_388_608)
    assert LongAnswers(broadcaster).most == 16
    assert LongAnswers(Node(memory_bytes=None)).most > 1000
    async with serving(broadcaster) as live:
        for _ in range(1000):
            await broadcaster.publish("a", "x" * 4000)
        unread = [await ask_and_read_nothing(live) for _ in range(16)]
        await until(lambda: sum(bytes_ > 0 for bytes_ in buffered_bytes(live)) == 16)
        for path in (HISTORY, "/channels", "/clients"):
            answer = await live.request("GET", path)
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "full", "5")
        assert broadcaster.tally.rejected[ErrorCode.FULL] == 3
        assert broadcaster._audit.answer_bytes == 8_388_608 // 4
        for sock in unread:
            sock.close()
        await until(lambda: not live.server.server_state.tasks)
        assert broadcaster._audit.answer_bytes == 0
        assert (await live.request("GET", "/channels")).status == 200


async def test_a_history_that_goes_while_it_is_sent_ends_early() -> None:
    """Its messages have no hole; what follows is asked for, and its gap is told."""
    broadcaster = Node(queue_messages=10, history_messages=400)
    async with serving(broadcaster) as live:
        for number in range(400):
            await broadcaster.publish("a", f"{number:04d}" * 2000)
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port, limit=4096)
        writer.write(f"GET {HISTORY} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        await until(lambda: max(buffered_bytes(live), default=0) > 0)
        for number in range(2000):
            await broadcaster.publish("a", f"{number:04d}")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" in head
        body = await reader.read()
        writer.close()
        text = b"".join(body.split(b"\r\n")[1::2])
        answer = json.loads(text)
        offsets = [message["offset"] for message in answer["messages"]]
        assert offsets == list(range(offsets[0], offsets[-1] + 1))
        assert (answer["gap"], len(offsets) < 400) == (None, True)


async def test_long_answers_take_turns() -> None:
    """Parts of two answers are not made at the same time: together they hold the loop for one turn."""
    answers = LongAnswers(Node())
    making = most = 0

    async def parts() -> AsyncGenerator[bytes, None]:
        nonlocal making, most
        for _ in range(20):
            making += 1
            most = max(most, making)
            await asyncio.sleep(0)
            making -= 1
            yield bytes(PIECE_BYTES)

    sent: list[int] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(len(message.get("body", b"")))

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError

    await asyncio.gather(*(answers.json(parts())({"type": "http"}, receive, send) for _ in range(5)))
    assert (most, sum(sent), answers.sending) == (1, 5 * 20 * PIECE_BYTES, 0)


async def test_a_short_answer_has_a_length() -> None:
    """And comes in one piece, as ever."""
    async with serving(Node()) as live:
        answer = await live.request("GET", "/channels")
        assert (answer.headers["content-length"], answer.json) == ("25", {"channels": [], "total": 0})
