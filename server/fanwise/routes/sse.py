"""Server-Sent Events (WHATWG HTML, section 9.2): a channel as an event stream, from the same log as everything else."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Literal

import anyio
import orjson
from fastapi import APIRouter, Header, Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.sink import EXTENSION, Sink, Source
from ..core.codes import ErrorCode
from ..core.dialect import SSE, SSE_JSON, Dialect
from ..core.encoding import chunk, event
from ..core.publication import Position, check_channel_name
from ..core.reasons import CloseReason
from ..errors import ChannelLimitError, DrainingError, FullError, NotRunningError
from ..transport.asgi import AsgiStream
from ..transport.connect import hint_at_the_fast_path
from ..transport.connection import SocketConnection
from .auth.access import Access
from .problems import REFUSED, errors, make_router, origin_guard
from .publish import ChannelPath

MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Connection": "close"}
_HEARTBEAT = b":\n\n"  # a comment: proxies see that the stream lives, and so do we
_RETRY_MS = 1000


def farewell(reason: CloseReason, text: str) -> bytes:
    """The last event: the close reason as WebSocket clients get it, and when to come back."""
    fields: dict[str, object] = {"code": reason.code, "reason": text}
    if text.startswith("{"):  # `drain.farewell`
        fields |= orjson.loads(text)
    retry_ms = fields.get("retry_ms", _RETRY_MS)
    return event(orjson.dumps(fields), name="close", retry_ms=retry_ms if isinstance(retry_ms, int) else _RETRY_MS)


class EventStreamResponse(Response):
    """One client's event stream, which lasts until one of the two has had enough.

    Args:
        broadcaster: Whose channel it is.
        channel: Its name, which is allowed.
        since: After which position the stream begins; None for the head.
        dialect: SSE or SSE_JSON.
        heartbeat_seconds: How often an open stream gets a comment.
    """

    def __init__(
        self,
        broadcaster: Node,
        *,
        channel: str,
        since: Position | None,
        dialect: Dialect,
        heartbeat_seconds: float,
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE, headers=_HEADERS)
        del self.headers["content-length"]
        self._broadcaster = broadcaster
        self._channel = channel
        self._since = since
        self._dialect = dialect
        self._heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the header, and then what the channel's log has."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sink, listen = _open(scope, receive, send)
        host, port = scope.get("client") or ("", "")
        try:
            async with self._broadcaster.client(
                sink,
                listen,
                channel=self._channel,
                since=self._since,
                address=f"{host}:{port}",
                dialect=self._dialect,
            ) as client:
                await self._stay(client)
        except (ChannelLimitError, DrainingError, FullError, NotRunningError):
            pass  # it came to that while the header was on its way: an empty stream, and the browser tries again
        if not (isinstance(sink, AsgiStream) and sink.aborted):  # the end would wait for the peer like all before it
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stay(self, client: Client) -> None:
        messages = aiter(client)
        while client.reason is None:
            with anyio.move_on_after(self._heartbeat_seconds):
                await anext(messages, None)  # nothing ever comes; it ends with the client
                return
            if _is_gone(client, self._heartbeat_seconds):
                client.abort(CloseReason.STALLED)
            elif not client.outbox.held_up:
                client.tell(_HEARTBEAT)


def _is_gone(client: Client, heartbeat_seconds: float) -> bool:
    """Whether the peer's kernel has not even acknowledged the last heartbeat: event streams have no pong."""
    sink = client.sink
    return isinstance(sink, SocketConnection) and sink.unanswered_seconds() > heartbeat_seconds


def _open(scope: Scope, receive: Receive, send: Send) -> tuple[Sink, Callable[[], Source]]:
    offer = scope.get("extensions", {}).get(EXTENSION)
    connection = offer(scope, lambda reason, text: chunk(farewell(reason, text))) if callable(offer) else None
    if connection is not None:
        return connection, connection.listen
    hint_at_the_fast_path()
    fallback = AsgiStream(receive, send, farewell)
    return fallback, lambda: fallback


def sse_routes(broadcaster: Node, access: Access, *, heartbeat_seconds: float) -> APIRouter:
    """`GET /sse/{channel}`."""
    router = make_router(broadcaster.tally.reject)

    async def stream(
        channel: ChannelPath,
        since: Annotated[
            str | None, Query(description="Go on after this position.", examples=["9f2c01ab77e4:42"])
        ] = None,
        last_event_id: Annotated[
            str | None, Header(description="The same, as browsers send it when they come back. Wins over `since`.")
        ] = None,
        format: Annotated[  # noqa: A002 - the name of the query parameter
            Literal["plain", "json"], Query(description="The payload alone, or the `message` of the JSON dialect.")
        ] = "plain",
    ) -> Response:
        """A channel as an event stream. The id of an event is its position, `epoch:offset`."""
        check_channel_name(channel)
        broadcaster.check_room()
        given = last_event_id or since
        return EventStreamResponse(
            broadcaster,
            channel=channel,
            since=Position.parse(given) if given else None,
            dialect=SSE_JSON if format == "json" else SSE,
            heartbeat_seconds=heartbeat_seconds,
        )

    router.add_api_route(
        "/sse/{channel:path}",
        stream,
        dependencies=[origin_guard(access)],
        response_class=Response,
        responses={
            HTTPStatus.OK: {
                "description": "Events: `subscribed`, the payloads, `gap`, and `close` at the end.",
                "content": {
                    MEDIA_TYPE: {"schema": {"type": "string"}, "example": "id: 9f2c01ab77e4:43\ndata: hello\n\n"}
                },
            },
            **errors(
                *REFUSED,
                ErrorCode.BAD_CHANNEL,
                ErrorCode.BAD_POSITION,
                ErrorCode.BAD_REQUEST,
                ErrorCode.DRAINING,
                ErrorCode.FULL,
            ),
        },
    )
    return router
