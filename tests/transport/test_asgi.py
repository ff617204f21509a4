"""What `test_sink.py` does not show: a server that misbehaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anyio.lowlevel import checkpoint
from starlette.websockets import WebSocket

from fanwise.broadcaster.sink import DirectSink, Message
from fanwise.core.publication import Kind
from fanwise.core.reasons import CloseReason
from fanwise.transport.asgi import AsgiConnection

pytestmark = pytest.mark.anyio


class Owner:
    def __init__(self) -> None:
        self.closed = 0

    def sink_paused(self) -> None: ...

    def sink_resumed(self) -> None: ...

    def sink_ponged(self, rtt_seconds: float) -> None: ...

    def sink_unanswered(self, seconds: float) -> bool:
        return False

    def sink_receiving(self, *, held: bool) -> None:
        pass

    def sink_closed(self, reason: CloseReason) -> None:
        self.closed += 1


class Server:
    """The two callables that an ASGI server gives to an application."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[Any] = []
        self.error: Exception | None = None

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.get()

    async def send(self, message: Any) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(message)

    async def accepted(self) -> tuple[AsgiConnection, Owner]:
        self.incoming.put_nowait({"type": "websocket.connect"})
        websocket = WebSocket({"type": "websocket", "extensions": {}}, self.receive, self.send)
        await websocket.accept()
        connection, owner = AsgiConnection(websocket), Owner()
        connection.attach(owner)
        return connection, owner


MESSAGE = Message(b"text", binary=False)


async def test_it_is_not_a_direct_sink() -> None:
    """A sweep wakes its client rather than writing to it."""
    connection, _ = await Server().accepted()
    assert not isinstance(connection, DirectSink)


@pytest.mark.parametrize("error", [OSError(), RuntimeError("after close")])
async def test_a_send_that_fails_ends_the_connection(error: Exception) -> None:
    """The client hears of it, and nothing more is sent."""
    server = Server()
    connection, owner = await server.accepted()
    server.error = error
    await connection.send([MESSAGE])
    assert owner.closed >= 1
    assert not connection.writable
    await connection.close(CloseReason.SLOW, "slow", within_seconds=1)


async def test_a_close_that_fails_is_a_close() -> None:
    """The peer was faster."""
    server = Server()
    connection, _ = await server.accepted()
    server.error = OSError()
    await connection.close(CloseReason.SLOW, "slow", within_seconds=1)
    assert not connection.writable


async def test_a_disconnect_ends_the_iteration() -> None:
    """After the messages that came before it."""
    server = Server()
    connection, owner = await server.accepted()
    for message in ({"text": "a"}, {"bytes": b"b"}):
        server.incoming.put_nowait({"type": "websocket.receive", **message})
    server.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
    assert [message async for message in connection] == [(Kind.TEXT, b"a"), (Kind.BINARY, b"b")]
    assert owner.closed == 1
    assert [message async for message in connection] == []


async def test_the_client_can_end_the_iteration() -> None:
    """Also while it waits for a message, and without taking the connection for lost."""
    server = Server()
    connection, owner = await server.accepted()
    reader = asyncio.ensure_future(anext(connection))
    await checkpoint()
    connection.end()
    with pytest.raises(StopAsyncIteration):
        await reader
    assert owner.closed == 0
    assert connection.writable


async def test_an_aborted_connection_is_not_used_any_more() -> None:
    """ASGI has no abort: the server ends the connection when the endpoint returns."""
    server = Server()
    connection, _ = await server.accepted()
    connection.abort()
    await connection.close(CloseReason.SLOW, "slow", within_seconds=1)
    assert [message["type"] for message in server.sent] == ["websocket.accept"]
