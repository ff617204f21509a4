"""The protocol class for uvicorn's HTTP side (`http=FanwiseHttpProtocol`): event streams on the fast path.

It offers the application `scope["extensions"]["fanwise"]`: a function that turns a response whose header was sent into
a connection that sweeps can write to, chunk by chunk, as `websocket_protocol` does. And it works on one request at
a time: what a peer sends behind it is not parsed before the request was answered, so that a connection has at most one
response in the making, and changes to WebSocket only when it has none. All else stays uvicorn's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..broadcaster.sink import EXTENSION
from ..core.lease import Lease
from ..core.reasons import CloseReason
from .connection import SocketConnection
from .inbox import Inbox
from .leased_transport import LeasedTransport
from .request_cutter import RequestCutter
from .sockets import SocketOptions, lost_reason

CLOSE_SECONDS = 5.0  # how long an ended stream may take to be flushed


class EventStream:
    """A response of which the body is written to the transport. What `SocketConnection` asks of a protocol class.

    Args:
        transport: Whose response it is. Its header was sent, with chunked transfer coding.
        farewell: Makes the last bytes of the body, from the close reason and its text.
    """

    def __init__(self, transport: LeasedTransport, *, farewell: Callable[[CloseReason, str], bytes]) -> None:
        self.transport = transport
        self.sink = SocketConnection(self, transport.lease)
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
        self.end(reason, within_seconds=within_seconds)

    def end(self, reason: CloseReason, *, within_seconds: float) -> None:
        """Nothing may be written any more; what is buffered has so long to be flushed. Idempotent."""
        self.sink.ended(reason)
        if self._abort_timer is None:
            self._abort_timer = self._loop.call_later(within_seconds, self.transport.abort)

    def lost(self) -> None:
        """The connection has ended, and so has the lease."""
        if self._abort_timer is not None:
            self._abort_timer.cancel()


class _Flow(FlowControl):
    """uvicorn's flow control, with a second brake: reading stays paused while a request waits for its turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._held = False

    def hold(self) -> None:
        """Pauses reading until `release`, whatever uvicorn asks for meanwhile."""
        self._held = True
        self.pause_reading()

    def release(self) -> None:
        """Resumes reading."""
        self._held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Resumes reading, unless it is held."""
        if not self._held:
            super().resume_reading()


class FanwiseHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, one request at a time, with event streams that sweeps can write to."""

    socket_options = SocketOptions()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.transport: LeasedTransport
        self.flow: _Flow
        self._stream: EventStream | None = None
        self._cutter = RequestCutter()
        self._waiting = b""  # what has come and was not parsed
        self._parsed = 0  # bytes of it that were parsed all the same
        self._received = False  # whether the parser has seen the end of the request that is worked on

    # Life of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the lease of the socket."""
        # uvloop's transports do not inherit from asyncio's.
        own = cast("asyncio.Transport", transport)
        leased = LeasedTransport(own, on_end=self._lease_ended, debug=self.loop.get_debug())
        super().connection_made(leased)
        self.flow = _Flow(leased)

    def _lease_ended(self) -> None:
        """Leaves the ready groups: the transport closes, or is another protocol's."""
        if self._stream is not None:
            self._stream.end(CloseReason.LOST, within_seconds=CLOSE_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves the ready groups now: the descriptor is closed, and may be reused, right after this call."""
        stream = self._stream
        if stream is not None:
            stream.sink.ended(lost_reason(exc) or CloseReason.LOST)
        self.transport.lease.end()
        if stream is not None:
            stream.lost()
        self._waiting = b""
        super().connection_lost(exc)
        self._let_go()

    def eof_received(self) -> None:
        """The peer will send no more: the transport closes itself."""
        self.transport.lease.end()

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

    # One request at a time.

    def data_received(self, data: bytes) -> None:
        """Parses up to the end of a request; the rest waits until that was answered, and more of it in the kernel."""
        self._unset_keepalive_if_required()
        if self._stream is not None:  # its response has said "Connection: close"
            self.transport.close()
            return
        self._waiting = self._waiting[self._parsed :] + data if self._waiting else data
        self._parsed = 0
        self._parse()

    def on_message_begin(self) -> None:
        """The parser has found a request."""
        if self._received:
            raise AssertionError("a request begins before the one before it was answered")  # closes the connection
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Offers the application an event stream in place of its response."""
        chunked, body_bytes = False, 0
        for name, value in self.headers:  # the parser refuses both at once, and what contradicts itself
            if name == b"transfer-encoding":
                chunked = True
            elif name == b"content-length":
                body_bytes = int(value)
        self._cutter.head_ended(body_bytes=body_bytes, chunked=chunked)
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:  # not a WebSocket's handshake, which has none
            cast("dict[str, Any]", self.scope)["extensions"] = {EXTENSION: self._open_stream}

    def on_message_complete(self) -> None:
        """The parser has found the end of a request."""
        self._received = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Goes on to the next request, if it is here already, in the next turn."""
        super().on_response_complete()
        if self._waiting and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.loop.call_soon(self._parse)

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over, unless a response is in the making or something came behind the handshake."""
        if self._parsed < len(self._waiting) or not (self.cycle is None or self.cycle.response_complete):
            self.send_400_response("An upgrade must come alone, and after the answer to what came before it.")
            return
        self._waiting = b""
        self.flow.release()  # reading must not stay paused
        super().handle_websocket_upgrade()
        self._let_go()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no valid request, unless an answer has begun, and closes the connection."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _parse(self) -> None:
        """Feeds the parser up to the end of a request that is not answered yet, or with all that is here."""
        while self._parsed < len(self._waiting) and self._may_parse():
            start = self._parsed
            try:
                self._parsed = self._cutter.cut(self._waiting, start)
            except ValueError as error:
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response(str(error))
                return
            super().data_received(self._waiting[start : self._parsed])
            if self.parser is None or self.transport.is_closing():
                return
            if self._cutter.complete is not self._received:
                self.send_400_response("Invalid HTTP request received.")
                return
        if self._parsed < len(self._waiting):
            self.flow.hold()
        else:
            self._waiting, self._parsed = b"", 0
            self.flow.release()

    def _may_parse(self) -> bool:
        """Whether the next byte may be parsed: it belongs to the request that is worked on, or that was answered."""
        if self.parser is None or self.transport.is_closing():
            return False
        if self._received:
            if self.cycle is not None and not self.cycle.response_complete:
                return False
            self._received = False
            self._cutter.begin()
        return True

    def _let_go(self) -> None:
        """Forgets what leads back here, so that it is freed at once and not by the collector."""
        self.parser = None  # type: ignore[assignment]
        if self.cycle is not None:
            cast("dict[str, Any]", self.cycle.scope)["extensions"] = {EXTENSION: _ended}

    def _open_stream(self, scope: Scope, farewell: Callable[[CloseReason, str], bytes]) -> SocketConnection | None:
        """A connection over the response to the request of `scope`, or None where it cannot be one."""
        transport, cycle = self.transport, self.cycle
        if cycle.scope is not scope or not cycle.chunked_encoding:
            return None
        if self._waiting:  # a request behind one whose response never ends would never be answered
            transport.close()
        if cycle.disconnected or transport.is_closing():  # closed, or no longer ours
            return _ended(cast("Scope", scope), farewell)
        cycle.keep_alive = False  # nothing may come on this connection after the stream
        self.socket_options.apply(transport.get_extra_info("socket"))
        self._stream = EventStream(transport, farewell=farewell)
        transport.report_every_byte()  # also those of the header, as for WebSockets
        return self._stream.sink


def _ended(_scope: Scope, _farewell: Callable[[CloseReason, str], bytes]) -> SocketConnection:
    """What is opened over a response whose connection has ended."""
    return SocketConnection(None, Lease(None))


def _nothing() -> None:
    """There is no peer to pause: it has said what it wants."""
