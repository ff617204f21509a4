"""The client over plain ASGI: for servers that do not offer us the connection. The same behaviour, slower."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from .reasons import CloseReason
from .sink import Message, SinkOwner


class AsgiConnection:
    """A sink and a source over one accepted `WebSocket`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._owner: SinkOwner | None = None
        self._open = True
        self._ended = False
        self._receiving: anyio.CancelScope | None = None

    def attach(self, owner: SinkOwner) -> None:
        """Makes `owner` hear when the connection ends."""
        self._owner = owner

    @property
    def writable(self) -> bool:
        """Whether the connection is open: ASGI does not tell more, `send` waits where need be."""
        return self._open

    async def send(self, messages: Sequence[Message]) -> None:
        """Sends one message after the other; waits while the server's write buffer is full."""
        for message in messages:
            await self._send(message)

    async def _send(self, message: Message) -> None:
        try:
            if message.binary:
                await self._websocket.send_bytes(message.payload)
            else:
                await self._websocket.send_text(message.payload.decode())
        except (WebSocketDisconnect, RuntimeError, OSError):  # all that servers raise once the peer has left
            self._lost()

    @property
    def buffered_bytes(self) -> int:
        """ASGI does not tell."""
        return 0

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:  # noqa: ARG002 - see abort
        """Sends the close message unless the peer, or the endpoint, was first."""
        opened = self._open and self._websocket.application_state is WebSocketState.CONNECTED
        self._open = False
        if opened:
            try:
                await self._websocket.close(reason.code, text)
            except (WebSocketDisconnect, RuntimeError, OSError):  # the peer has left meanwhile
                return

    def abort(self) -> None:
        """Stops using the connection. ASGI has no way to end it: the server does, when the endpoint returns."""
        self._open = False

    def __aiter__(self) -> AsgiConnection:
        return self

    async def __anext__(self) -> str | bytes:
        if self._ended or self._websocket.client_state is not WebSocketState.CONNECTED:
            raise StopAsyncIteration
        message: dict[str, object] = {}
        with anyio.CancelScope() as self._receiving:
            message = dict(await self._websocket.receive())
        if self._ended:
            raise StopAsyncIteration
        text, data = message.get("text"), message.get("bytes")
        if isinstance(text, str):
            return text
        if isinstance(data, bytes):
            return data
        self._lost()
        raise StopAsyncIteration

    def end(self) -> None:
        """Ends the iteration, also one that is waiting for a message."""
        self._ended = True
        if self._receiving is not None:
            self._receiving.cancel()

    def _lost(self) -> None:
        self._open = False
        if self._owner is not None:
            self._owner.sink_closed(CloseReason.NORMAL)  # ASGI servers do not agree on how to tell a close from a loss
