"""Clients over plain ASGI, for servers that do not offer us the connection: slower, with equal behaviour."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Self

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ..broadcaster.sink import Heard, Message, Received, SinkOwner, Source
from ..core.publication import Kind
from ..core.reasons import CloseReason

# All that servers raise once the peer has left.
_GONE = (WebSocketDisconnect, RuntimeError, OSError)


class AsgiPeer:
    """The half of a sink and source that WebSockets and event streams share.

    Args:
        receive: ASGI's own: the next message from the server.

    Attributes:
        writable: Whether the connection is open: more is unknown under ASGI, and sending waits where need be.
        aborted: Whether no call is to wait for the peer any more.
        buffered_bytes: 0: unknown under ASGI.
        taken: How many messages were handed over, ever.
    """

    def __init__(self, receive: Receive) -> None:
        self.writable = True
        self.aborted = False
        self.buffered_bytes = 0
        self.taken = 0
        self._receive = receive
        self._owner: SinkOwner | None = None
        self._ended = False
        self._receiving: anyio.CancelScope | None = None

    def attach(self, owner: SinkOwner) -> None:
        """Notifies `owner` when the connection ends."""
        self._owner = owner

    def abort(self) -> None:
        """Stops using the connection. ASGI has no way to end it: the server does, when the endpoint returns."""
        self.writable = False
        self.aborted = True

    def __aiter__(self) -> Self:
        return self

    def end(self) -> None:
        """Ends the iteration, also one that is waiting for a message."""
        self._ended = True
        if self._receiving is not None:
            self._receiving.cancel()

    async def _next(self) -> MutableMapping[str, Any]:
        """The next message from the server, unless the iteration has ended."""
        message: MutableMapping[str, Any] = {}
        if not self._ended:
            with anyio.CancelScope() as self._receiving:
                message = await self._receive()
        if self._ended:
            raise StopAsyncIteration
        return message

    def _lost(self) -> None:
        self.writable = False
        if self._owner is not None:
            self._owner.sink_closed(CloseReason.NORMAL)  # ASGI servers do not agree on what is a loss


class AsgiConnection(AsgiPeer):
    """A sink and a source over one accepted `WebSocket`."""

    def __init__(self, websocket: WebSocket) -> None:
        super().__init__(websocket.receive)
        self._websocket = websocket

    def listen(self, heard: Heard | None = None) -> Source:
        """The messages, from now on; `heard` is called for each when it is read."""
        return self if heard is None else Overheard(self, heard)

    async def send(self, messages: Sequence[Message]) -> None:
        """Sends one message after the other; waits while the server's write buffer is full."""
        for message in messages:
            try:
                if message.binary:
                    await self._websocket.send_bytes(message.payload)
                else:
                    await self._websocket.send_text(message.payload.decode())
            except _GONE:
                self._lost()
                return
            self.taken += 1

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:  # noqa: ARG002 - see abort
        """Sends the close message unless the peer, or the endpoint, was first."""
        opened = self.writable and self._websocket.application_state is WebSocketState.CONNECTED
        self.writable = False
        if opened:
            try:
                await self._websocket.close(reason.code, text)
            except _GONE:
                return

    async def __anext__(self) -> Received:
        if self._websocket.client_state is not WebSocketState.CONNECTED:
            raise StopAsyncIteration
        message = await self._next()
        text, data = message.get("text"), message.get("bytes")
        if isinstance(text, str):
            return Kind.TEXT, text.encode()
        if isinstance(data, bytes):
            return Kind.BINARY, data
        self._lost()
        raise StopAsyncIteration


class AsgiStream(AsgiPeer):
    """A sink and a source over a response of which the header was sent.

    Args:
        receive: ASGI's own.
        send: ASGI's own.
        farewell: Makes the last bytes of the body, from the close reason and its text.
    """

    def __init__(self, receive: Receive, send: Send, farewell: Callable[[CloseReason, str], bytes]) -> None:
        super().__init__(receive)
        self._send = send
        self._farewell = farewell

    def listen(self, heard: Heard | None = None) -> Source:  # noqa: ARG002 - there is nothing to hear
        """No messages ever; the iteration ends with the connection."""
        return self

    async def send(self, messages: Sequence[Message]) -> None:
        """Sends the messages as one piece of the body; waits while the server's write buffer is full."""
        body = b"".join([message.payload for message in messages])
        try:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except _GONE:
            self._lost()
            return
        self.taken += len(messages)

    async def close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:  # noqa: ARG002 - see abort
        """Sends the last bytes."""
        if self.writable:
            await self.send([Message(self._farewell(reason, text), binary=False)])
        self.writable = False

    async def __anext__(self) -> Received:
        """Waits for the end of the connection, which ends the iteration."""
        while (await self._next()).get("type") != "http.disconnect":
            continue
        self._lost()
        raise StopAsyncIteration


class Overheard:
    """A source whose messages are heard when they are read: ASGI shows them no earlier.

    Args:
        source: The client's messages.
        heard: Called for each.
    """

    def __init__(self, source: Source, heard: Heard) -> None:
        self._source = source
        self._heard = heard

    def __aiter__(self) -> AsyncIterator[Received]:
        return self

    async def __anext__(self) -> Received:
        kind, data = await anext(self._source)
        self._heard(kind, data)
        return kind, data

    def end(self) -> None:
        """Ends the iteration once the messages that are already here were read. Idempotent."""
        self._source.end()


@cache
def quiet(app: ASGIApp) -> ASGIApp:
    """Returns `app`, wrapped: a peer that leaves in the middle of its request makes no traceback."""

    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):
            await app(scope, receive, send)

    return quiet
