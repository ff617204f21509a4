"""An event stream (Server-Sent Events) from its head on: the event loop's protocol, and the sink of its client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from ..broadcaster.sink import Message
from ..core.encoding import chunk, event
from ..core.reasons import CloseReason
from .socket_sink import SocketSink

HEARTBEAT: Final = b":\n\n"  # a comment: proxies see that the stream lives, and so do we
HEARTBEAT_CHUNK: Final = chunk(HEARTBEAT)
_LAST_CHUNK: Final = b"0\r\n\r\n"  # RFC 9112 section 7.1
_RETRY_MS: Final = 1000


def farewell(reason: CloseReason, text: str) -> bytes:
    """The last event: the close reason as WebSocket clients get it, and when to come back."""
    fields: dict[str, object] = {"code": reason.code, "reason": text}
    if text.startswith("{"):  # `drain.restart_text`
        fields |= orjson.loads(text)
    retry_ms = fields.get("retry_ms", _RETRY_MS)
    return event(orjson.dumps(fields), name="close", retry_ms=retry_ms if isinstance(retry_ms, int) else _RETRY_MS)


class EventStreamConnection(SocketSink):
    """Owns the invariant that the body of the response is a whole number of chunks, and nothing follows its last one.

    Its peer has nothing to say: whatever it sends ends the connection.
    """

    __slots__ = ()

    received_bytes = 0  # that wait to be read

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        """Ends the connection: an answer behind one that never ends could never be sent."""
        self.transport.close()

    def shutdown(self) -> None:
        """The server stops: closing must come to its end before uvicorn's patience does, and the loop is closed."""
        seconds = self._close_seconds
        if self._around.graceful_seconds is not None:
            seconds = min(seconds, self._around.graceful_seconds / 2)
        self.start_close(CloseReason.SHUTDOWN, CloseReason.SHUTDOWN.text, within_seconds=seconds)

    async def send(self, messages: Sequence[Message]) -> None:
        """Writes each message as one chunk of the body."""
        self.taken += len(messages)
        self.write(b"".join([chunk(payload) for payload, _ in messages]))

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Sends the last event behind what is buffered; all of it has `within_seconds` to be flushed."""
        self.write(chunk(farewell(reason, text)))
        self.finish(reason, within_seconds=within_seconds)

    def finish(self, reason: CloseReason, *, within_seconds: float) -> None:
        """Ends the body, and the connection when all is flushed, or after `within_seconds`."""
        self.write(_LAST_CHUNK)
        self._close_seconds = min(self._close_seconds, within_seconds)
        self._closing(reason)
        self.transport.close()

    # Keep-alive.

    def ping(self, payload: bytes) -> None:  # noqa: ARG002 - event streams have no pong
        """Sends a comment if nothing is buffered. Ends a connection whose peer has not acknowledged the last one."""
        self.asked = b""
        if self.unanswered_seconds() > self._around.keep_alive.interval_seconds:
            self._end(CloseReason.STALLED)
            self.transport.abort()
        elif self.writable:
            self.transport.write(HEARTBEAT_CHUNK)
