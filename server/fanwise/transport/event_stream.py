"""One client's event stream (Server-Sent Events, WHATWG HTML section 9.2) over a response of ASGI."""

from __future__ import annotations

from typing import Final

import anyio
from anyio.lowlevel import checkpoint
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.sink import EXTENSION
from ..core.dialect import Dialect
from ..core.filters import Filter
from ..core.publication import Beginning
from ..core.reasons import CloseReason
from ..core.rights import User
from ..errors import (
    BackplaneDownError,
    ChannelLimitError,
    DrainingError,
    FilterLimitError,
    FullError,
    NoChannelError,
    NotRunningError,
)
from .addresses import peer_name
from .asgi import AsgiStream
from .connect import hint_at_the_fast_path
from .event_stream_connection import HEARTBEAT, EventStreamConnection, farewell
from .passage import Passage

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Connection": "close"}
_NO_ROOM: Final = (
    BackplaneDownError,
    ChannelLimitError,
    DrainingError,
    FilterLimitError,
    FullError,
    NoChannelError,
    NotRunningError,
)
_TURNS: Final = 8  # of the loop, for middleware that passes a body on in a task of its own


class EventStreamResponse(Response):
    """One client's event stream, which lasts until one of the two has had enough.

    Over our protocol class the connection leaves the application once its head was sent, and the response returns.
    Otherwise, and where middleware works on the body, the response lasts as long as the stream.

    Args:
        broadcaster: Whose channel it is.
        channel: Its name, which is allowed.
        since: Where the stream begins; None for the head.
        dialect: SSE or SSE_JSON.
        heartbeat_seconds: How often an open stream gets a comment.
        user: Whose stream it is; None: unknown.
        filter: What the stream lets through; None: everything.
    """

    def __init__(
        self,
        broadcaster: Node,
        *,
        channel: str,
        since: Beginning | None,
        dialect: Dialect,
        heartbeat_seconds: float,
        user: User | None = None,
        filter: Filter | None = None,
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE, headers=HEADERS)
        del self.headers["content-length"]
        self._broadcaster = broadcaster
        self._channel = channel
        self._since = since
        self._dialect = dialect
        self._heartbeat_seconds = heartbeat_seconds
        self._user = user
        self._filter = filter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the head, and then what the channel's log has; then runs the background tasks."""
        offer = scope.get("extensions", {}).get(EXTENSION)
        passage: Passage | None = offer(scope) if callable(offer) else None
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if passage is None or not await _passes(passage, send):
            await self._serve(scope, receive, send)
        else:
            connection = passage.take(self._heartbeat_seconds)
            if connection is not None:
                address = peer_name(HTTPConnection(scope))
                about = self._since, address, self._dialect, self._user, self._filter
                begin(self._broadcaster, connection, self._channel, *about)
        if self.background is not None:
            await self.background()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the client over plain ASGI, until it ends."""
        hint_at_the_fast_path()
        sink = AsgiStream(receive, send, farewell)
        try:
            async with self._broadcaster.client(
                sink,
                sink.listen,
                channel=self._channel,
                since=self._since,
                address=peer_name(HTTPConnection(scope)),
                dialect=self._dialect,
                user=self._user,
                filter=self._filter,
            ) as client:
                await self._stay(client)
        except _NO_ROOM:
            pass  # it came to that while the header was on its way: an empty stream, and the browser tries again
        if not sink.aborted:  # the end would wait for the peer like all before it
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stay(self, client: Client) -> None:
        messages = aiter(client)
        while client.reason is None:
            with anyio.move_on_after(self._heartbeat_seconds):
                await anext(messages, None)  # nothing ever comes; it ends with the client
                return
            if not client.held_up:
                client.answer(HEARTBEAT)


def begin(
    broadcaster: Node,
    connection: EventStreamConnection,
    channel: str,
    since: Beginning | None,
    address: str,
    dialect: Dialect,
    user: User | None = None,
    filter: Filter | None = None,
) -> None:
    """Makes a client of a connection whose head was sent; an empty stream where there is no room: browsers try again.

    Whatever else is raised ends the connection: nothing would ever be sent on it.
    """
    try:
        broadcaster.add_client(connection, None, channel, since, address, dialect, user, filter)
    except _NO_ROOM:
        connection.finish(CloseReason.FULL, within_seconds=broadcaster.close_seconds)
    except BaseException:
        connection.abort()
        raise


async def _passes(passage: Passage, send: Send) -> bool:
    """Sends a comment; returns whether it gets to the server as it is, or the connection has ended."""
    await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
    for _ in range(_TURNS):
        if passage.passed or passage.is_closing():
            return True
        await checkpoint()
    passage.leave()
    return False
