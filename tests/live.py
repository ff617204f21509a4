"""A real uvicorn on real sockets inside the test's own event loop, and WebSocket clients for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from server.protocol import FanwiseProtocol


class Live:
    """A running server: its port, and uvicorn's own view of it."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server = server
        self.port = port

    async def connect(self, path: str = "/ws") -> ClientConnection:
        """A client that answers pings, with the library's own small buffers."""
        return await connect(f"ws://127.0.0.1:{self.port}{path}", compression=None, proxy=None)

    async def get(self, path: str) -> bytes:
        """The whole answer to a GET request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def raw(self, path: str = "/ws", *, receive_buffer: int | None = None) -> socket.socket:
        """A socket after its handshake, which does whatever the test does with it and nothing else."""
        peer = socket.socket()
        if receive_buffer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(peer, ("127.0.0.1", self.port))
        await loop.sock_sendall(peer, handshake(path))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await loop.sock_recv(peer, 1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return peer


def handshake(path: str) -> bytes:
    """A WebSocket handshake request (RFC 6455 section 4.1, with its example key)."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


@asynccontextmanager
async def running(app: FastAPI, *, fast: bool = True, ssl_certfile: str | None = None) -> AsyncIterator[Live]:
    """Serves `app` on a free port while the context lasts; `fast` says whether with our protocol class."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        ws=FanwiseProtocol if fast else "websockets-sansio",
        ws_per_message_deflate=False,
        log_config=None,
        ssl_certfile=ssl_certfile,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started or task.done())
    try:
        yield Live(server, listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until `condition` holds; the test's own time limit ends a wait that is in vain."""
    while not condition():  # noqa: ASYNC110 - what it waits for has no event that a test could reach
        await asyncio.sleep(0)
