"""The protocol class on a transport that records: literal bytes in, literal bytes out, no network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from fanwise.broadcaster.sink import EXTENSION, Offer, Received
from fanwise.transport.limits import Limits
from fanwise.transport.websocket_connection import WebSocketConnection
from fanwise.transport.websocket_protocol import FanwiseProtocol

from .harness import StillLoop

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HELLO = b"\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e"  # "hello" as one masked text frame (RFC 6455 section 5.2)
PING = b"\x89\x80\x00\x00\x00\x00"
PONG = b"\x8a\x00"


def masked(payload: bytes, opcode: int = 0x81) -> bytes:
    """A frame as a client sends it, with the mask 1, 2, 3, 4; by default a whole text message."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2)
    return (
        bytes([opcode]) + length + b"\x01\x02\x03\x04" + bytes(byte ^ (at % 4 + 1) for at, byte in enumerate(payload))
    )


class FakeTransport(asyncio.Transport):
    """Takes everything and is never full."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.written: list[bytes | bytearray | memoryview] = []
        self._closing = False
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It has no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        """What is fed comes all the same."""

    def resume_reading(self) -> None:
        """Likewise."""


class Unpaced(FanwiseProtocol):
    """The protocol class for a peer that may send as much as it likes."""

    limits = Limits(rates=False)


class Wire:
    """One connection after its handshake, with an endpoint that reads all that comes, or another one.

    Args:
        loop: The event loop.
        max_bytes: The largest message.
        endpoint: Called with the offer of our protocol class when the handshake was answered.
        rates: Whether what the peer sends is paced; not where it sends more than any peer may.
    """

    def __init__(
        self,
        loop: StillLoop,
        *,
        max_bytes: int = 65_536,
        endpoint: Callable[[Offer], Coroutine[Any, Any, None]] | None = None,
        rates: bool = True,
    ) -> None:
        self._loop = loop
        self._sock = socket.socket()
        self.transport = FakeTransport(self._sock)
        self._messages: list[Received] = []
        self._endpoint = endpoint or self._read_all
        config = uvicorn.Config(
            self._application,
            interface="asgi3",
            ws_max_size=max_bytes,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            log_config=None,
        )
        config.load()
        handshake = (FanwiseProtocol if rates else Unpaced)(config, ServerState(), {}, loop)
        self._tasks = handshake.tasks
        handshake.connection_made(self.transport)
        handshake.data_received(HANDSHAKE)
        for _ in range(3):  # turns until the application has accepted and listens
            loop.turn()
        self.connection: WebSocketConnection = self.transport.protocol
        self.transport.written.clear()

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await self._endpoint(scope["extensions"][EXTENSION])

    async def _read_all(self, offer: Offer) -> None:
        async for message in offer.listen():
            self._messages.append(message)

    def feed(self, data: bytes) -> None:
        """What one read from the socket gives."""
        self.connection.data_received(data)

    def read(self) -> list[Received]:
        """What the endpoint has read once it had its turn."""
        self._loop.turn()
        messages, self._messages = self._messages, []
        return messages

    def close(self) -> None:
        self._loop.call_soon(self.connection.connection_lost, None)
        self._loop.turn()
        while self._tasks:
            self._loop.turn()
        self._sock.close()


@contextmanager
def wire(*, rates: bool = True) -> Iterator[Wire]:
    """A connection for as long as the context lasts."""
    loop = StillLoop()
    connection = Wire(loop, rates=rates)
    try:
        yield connection
    finally:
        connection.close()
        loop.close()
