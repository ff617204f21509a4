"""One client's event stream (Server-Sent Events, WHATWG HTML section 9.2) over a response of ASGI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
import orjson
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.sink import EXTENSION, Sink, Source
from ..core.dialect import Dialect
from ..core.encoding import chunk, event
from ..core.publication import Position
from ..core.reasons import CloseReason
from ..errors import ChannelLimitError, DrainingError, FullError, NotRunningError
from .addresses import peer_name
from .asgi import AsgiStream
from .connect import hint_at_the_fast_path
from .connection import SocketConnection
from .inbox import Inbox
from .leased_transport import LeasedTransport

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Connection": "close"}
HEARTBEAT: Final = b":\n\n"  # a comment: proxies see that the stream lives, and so do we
_RETRY_MS: Final = 1000


def farewell(reason: CloseReason, text: str) -> bytes:
    """The last event: the close reason as WebSocket clients get it, and when to come back."""
    fields: dict[str, object] = {"code": reason.code, "reason": text}
    if text.startswith("{"):  # `drain.restart_text`
        fields |= orjson.loads(text)
    retry_ms = fields.get("retry_ms", _RETRY_MS)
    return event(orjson.dumps(fields), name="close", retry_ms=retry_ms if isinstance(retry_ms, int) else _RETRY_MS)


class EventStream:
    """A response of which the body is written to the transport: what `SocketConnection` asks of a protocol class.

    Args:
        transport: Whose response it is. Its header was sent, with chunked transfer coding.
        farewell: Makes the last bytes of the body, from the close reason and its text.
        abort_after: Aborts the connection after that many seconds.
    """

    def __init__(
        self,
        transport: LeasedTransport,
        *,
        farewell: Callable[[CloseReason, str], bytes],
        abort_after: Callable[[float], None],
    ) -> None:
        self.transport = transport
        self.sink = SocketConnection(self, transport.lease)
        self._farewell = farewell
        self._abort_after = abort_after

    @property
    def received_bytes(self) -> int:
        """0: an event stream's peer sends nothing."""
        return 0

    def listen(self) -> Inbox:
        """Returns an inbox that gets no message: it only ends."""
        return Inbox(pause=_nothing, resume=_nothing)

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Writes the last event behind what is buffered; all of it has `within_seconds` to be flushed."""
        self.transport.write(self._farewell(reason, text))
        self.sink.ended(reason)
        self._abort_after(within_seconds)


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
        super().__init__(media_type=MEDIA_TYPE, headers=HEADERS)
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
        try:
            async with self._broadcaster.client(
                sink,
                listen,
                channel=self._channel,
                since=self._since,
                address=peer_name(HTTPConnection(scope)),
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
            elif not client.held_up:
                client.send(HEARTBEAT)


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


def _nothing() -> None:
    """Takes the place of a brake: an event stream's peer sends nothing."""
