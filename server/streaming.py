"""The protocol class for uvicorn's HTTP side (`http=FanwiseHttpProtocol`): event streams on the fast path.

It offers the application `scope["extensions"]["fanwise"]`: a function that turns a response whose header was sent into
a connection that sweeps can write to, chunk by chunk, as `protocol` does for WebSockets. All else stays uvicorn's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .connection import SocketConnection
from .inbox import Inbox
from .reasons import CloseReason
from .sink import EXTENSION
from .sockets import SocketOptions, lost_reason

CLOSE_SECONDS = 5.0  # how long an ended stream may take to be flushed


class EventStream:
    """A response of which the body is written to the transport. What `SocketConnection` asks of a protocol class.

    Args:
        transport: Whose response it is. Its header was sent, with chunked transfer coding.
        fd: The socket's file descriptor, unless it may not be written to directly.
        farewell: Makes the last bytes of the body, from the close reason and its text.
    """

    def __init__(
        self, transport: asyncio.Transport, *, fd: int | None, farewell: Callable[[CloseReason, str], bytes]
    ) -> None:
        self.transport = transport
        self.sink = SocketConnection(self)
        self.sink.fd = fd
        self._farewell = farewell
        self._loop = asyncio.get_running_loop()
        self._abort_timer: asyncio.TimerHandle | None = None

    def listen(self) -> Inbox:
        """An inbox in which nothing comes: it only ends."""
        return Inbox(pause=_nothing, resume=_nothing)

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Says goodbye behind what is buffered; the application ends the response, and then it has to be flushed."""
        if not self.transport.is_closing():
            self.transport.write(self._farewell(reason, text))
        self.sink.ended(reason)
        if self._abort_timer is None:
            self._abort_timer = self._loop.call_later(within_seconds, self.transport.abort)

    def lost(self, reason: CloseReason) -> None:
        """The connection has ended."""
        self.sink.ended(reason)
        if self._abort_timer is not None:
            self._abort_timer.cancel()


class FanwiseHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with event streams that sweeps can write to."""

    socket_options = SocketOptions()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stream: EventStream | None = None
        self._cycles: list[RequestResponseCycle] = []  # of requests, from the oldest that was not answered

    def on_headers_complete(self) -> None:
        """Offers the application an event stream in place of its response."""
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:  # not a WebSocket's handshake, which has none
            while self._cycles and self._cycles[0].response_complete:
                del self._cycles[0]
            self._cycles.append(self.cycle)
            cast("dict[str, Any]", self.scope)["extensions"] = {EXTENSION: self._open_stream}

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over. The parser leads back here, and both would stay until the collector comes."""
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves the ready groups now: the descriptor is closed, and may be reused, right after this call."""
        if self._stream is not None:
            self._stream.lost(lost_reason(exc) or CloseReason.LOST)
        for cycle in self._cycles:  # uvicorn tells the latest only
            if not cycle.response_complete:
                cycle.disconnected = True
            cycle.message_event.set()
            cast("dict[str, Any]", cycle.scope).pop("extensions", None)  # it leads back here: to be freed at once
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport has buffered something."""
        super().pause_writing()
        if self._stream is not None:
            self._stream.sink.paused()

    def resume_writing(self) -> None:
        """The transport is empty."""
        super().resume_writing()
        if self._stream is not None:
            self._stream.sink.resumed()

    def shutdown(self) -> None:
        """The server stops: a stream never ends by itself, and uvicorn would wait for it."""
        if self._stream is not None:
            seconds = CLOSE_SECONDS
            if self.config.timeout_graceful_shutdown is not None:
                seconds = min(seconds, self.config.timeout_graceful_shutdown / 2)
            self._stream.start_close(CloseReason.SHUTDOWN, CloseReason.SHUTDOWN.text, within_seconds=seconds)
        super().shutdown()

    def _open_stream(self, scope: Scope, farewell: Callable[[CloseReason, str], bytes]) -> SocketConnection | None:
        """A connection over the response to the request of `scope`, or None where it cannot be one."""
        transport = self.transport
        cycle = next((cycle for cycle in self._cycles if cycle.scope is scope), None)
        if cycle is None or not cycle.chunked_encoding or cycle.disconnected or transport.is_closing():
            return None
        cycle.keep_alive = False  # nothing may come on this connection after the stream
        sock = transport.get_extra_info("socket")
        self.socket_options.apply(sock)
        plain = transport.get_extra_info("sslcontext") is None
        self._stream = EventStream(transport, fd=sock.fileno() if plain else None, farewell=farewell)
        # As for WebSockets: every buffered byte is reported, also those of the header.
        transport.set_write_buffer_limits(high=0 if plain else 1, low=0)
        return self._stream.sink


def _nothing() -> None:
    """There is no peer to pause: it has said what it wants."""
