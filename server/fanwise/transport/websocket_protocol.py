"""The protocol class for uvicorn (`--ws fanwise.protocol:FanwiseProtocol`): the fast path.

uvicorn's WebSocket implementation answers the handshake, and runs the application. What follows is a
`WebSocketConnection`, which an application takes over with `connect`, or for good with `attach`. To others
this class is what a WebSocket is in ASGI.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request

from ..broadcaster.sink import EXTENSION, Heard, Work
from ..core.codes import ErrorCode
from ..core.publication import Kind
from ..core.reasons import CloseReason, failure
from ..logs.scrubbing import CONNECTION_LOGGER, hide_query_string
from .deflate import NEGOTIATION
from .inbox import Inbox, OverheardInbox
from .intake import make_intake
from .leased_transport import LeasedTransport
from .limits import Limits
from .places import PLACE
from .refusals import RefusedError, refuse, uncounted
from .socket_sink import CLOSE_SECONDS
from .sockets import SocketOptions
from .surroundings import surroundings
from .websocket_connection import Receiver, WebSocketConnection, frame_of

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent

_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum


class FanwiseProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol for the handshake, and the application's side of the connection after it."""

    socket_options = SocketOptions()
    limits = Limits()
    refused: Callable[[ErrorCode], None] = staticmethod(uncounted)

    def __init__(self, config: Any, server_state: ServerState, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, server_state, *args, **kwargs)
        self.transport: LeasedTransport
        self.connection: WebSocketConnection | None = None  # from the answer to the handshake on
        self._server_state = server_state
        self._detached = False  # whether the connection outlives the application's call
        self._over = False  # whether the application was told that nothing more comes
        self._abort_timer: asyncio.TimerHandle | None = None
        # Single connections have a logger of their own. websockets logs no frames and headers there: they carry keys.
        self.logger = self.conn.logger = logging.getLogger(CONNECTION_LOGGER)
        self.logger.addFilter(hide_query_string)  # the logger keeps one of it, however often
        self.conn.debug = False
        if config.ws_per_message_deflate:  # the library's own keeps 64 KiB for each connection
            self.conn.available_extensions = (NEGOTIATION,)

    # The handshake.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the lease of the socket."""
        # uvloop's transports do not inherit from asyncio's.
        own = cast("asyncio.Transport", transport)
        leased = LeasedTransport(own, on_end=self._handshake_ended, debug=False)
        if not isinstance(transport, LeasedTransport):  # the HTTP side has done it before it handed the connection over
            self.socket_options.apply(leased.get_extra_info("socket"))
        super().connection_made(leased)
        self._place = getattr(transport, "place", None)

    def data_received(self, data: bytes) -> None:
        """The handshake, behind which nothing may come before the answer."""
        if self.handshake_initiated:  # RFC 6455 section 4.1; an answer to it would come before the handshake's
            self._refuse(ErrorCode.BAD_REQUEST, "nothing may follow a handshake before its answer")
            return
        super().data_received(data)
        if not self.handshake_initiated:  # the library has refused it, and says nothing
            self._refuse(ErrorCode.BAD_REQUEST, f"no WebSocket handshake: {self.conn.handshake_exc}")

    def _refuse(self, code: ErrorCode, problem: str) -> None:
        """Answers a handshake where neither the application nor the library does, and closes the connection."""
        refuse(self.transport, RefusedError(code, problem), count=self.refused, client=self.client)

    def handle_connect(self, event: Request) -> None:
        """Offers the connection to the application."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast("dict[str, Any]", self.scope["extensions"]).update({EXTENSION: self, PLACE: self._place})

    def start_keepalive(self) -> None:
        """Hands the transport over: the handshake was answered."""
        leased = self.transport
        self.connections.discard(self)
        around = surroundings(self.config, self._server_state, self.loop, self.limits)
        self.connection = WebSocketConnection(around, leased, self, self, deflates=bool(self.conn.extensions))
        leased.set_protocol(self.connection)

    def _handshake_ended(self) -> None:
        """An answer that closes the connection has to be flushed, in time."""
        handed_over = self.handshake_complete and not self.close_sent  # to the WebSocket's connection
        if not handed_over and self._abort_timer is None and not self.disconnected:
            self._abort_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended before the handshake was answered."""
        self.disconnected = True
        self.transport.lost()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)
        self.conn.parser.close()

    def eof_received(self) -> None:
        """The peer will send no more: the transport closes itself."""
        self.transport.lease.end()

    def shutdown(self) -> None:
        """The server stops, and the handshake was not answered."""
        self._refuse(ErrorCode.DRAINING, "the server is restarting: come back in a moment")

    # What the application is offered.

    def listen(self, heard: Heard | None = None) -> Inbox:
        """An inbox for all messages that the application has not read; `heard` is called for each as it comes."""
        transport = self.transport if self.connection is None else self.connection.transport
        bounds: dict[str, Any] = {"pause": transport.pause_reading, "resume": transport.resume_reading}
        inbox = Inbox(**bounds, on_end=self.end) if heard is None else OverheardInbox(heard, **bounds, on_end=self.end)
        self._hand_over(inbox)
        return inbox

    def detach(self, work: Work, *, failed: Callable[[Exception], None], heard: Heard | None = None) -> None:
        """Has messages worked on from now on, also when the endpoint has returned; `failed` is called for an error."""
        assert self.connection is not None  # the application has accepted
        self._detached = True
        self._hand_over(make_intake(work, self.connection.transport, failed=failed, heard=heard))
        self._over = False
        self.end()  # an application that goes on receiving would wait for what no longer comes here

    def _hand_over(self, receiver: Receiver) -> None:
        """Replaces the queue of ASGI by `receiver`, with what is in it."""
        assert self.connection is not None  # the application has accepted
        self.connection.receiver = receiver
        if self.read_paused:
            self.read_paused = False
            self.connection.transport.resume_reading()
        while not self.queue.empty():
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                text, data = event.get("text"), event.get("bytes")
                receiver.put(*((Kind.BINARY, data or b"") if text is None else (_TEXT, text.encode())))
            elif event["type"] == "websocket.disconnect":
                receiver.end(event["code"], event.get("reason") or "")

    # The connection's receiver and owner, as long as the application is neither.

    @property
    def size_bytes(self) -> int:
        """Bytes of a message that the application has not read; 0: reading is paused behind each."""
        return 0

    def put(self, kind: Kind, data: bytes) -> None:
        """Queues a message, and pauses reading until the application has taken it."""
        if kind is _TEXT:
            self.queue.put_nowait({"type": "websocket.receive", "text": data.decode()})
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        if not self.read_paused and self.connection is not None:
            self.read_paused = True
            self.connection.transport.pause_reading()

    def end(self, code: int = 1005, reason: str = "") -> None:
        """Tells the application that the connection has ended, or will."""
        if not self._over:
            self._over = True
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.writable.set()

    def sink_paused(self) -> None:
        """Something is buffered: `send` waits."""
        self.writable.clear()

    def sink_resumed(self) -> None:
        """Nothing is buffered."""
        self.writable.set()

    def sink_receiving(self, *, held: bool) -> None:
        """Nobody counts the memory of a connection that is no client's."""

    def sink_ponged(self, rtt_seconds: float) -> None:
        """Nobody asks for the time of a pong."""

    def sink_unanswered(self, seconds: float) -> bool:  # noqa: ARG002 - the application has no queue that skips
        """Returns False: a connection that is no client's has to answer its pings."""
        return False

    def sink_closed(self, reason: CloseReason) -> None:  # noqa: ARG002 - the disconnect event says it
        """Nothing can be sent any more."""
        self.writable.set()

    # The application's calls.

    async def run_asgi(self) -> None:
        """Runs the application; its connection ends with it, unless it was detached."""
        await super().run_asgi()
        self.conn.parser.close()  # it leads back to the library's protocol, which has done its part
        cast("dict[str, Any]", self.scope["extensions"]).pop(EXTENSION, None)  # it leads back here
        connection, self.connection = self.connection, None
        if connection is not None and not (self._detached or connection.close_sent):
            connection.transport.close()

    async def send(self, message: ASGISendEvent) -> None:
        """The application's own messages, its close among them."""
        connection = self.connection
        if connection is None:
            await self._answer(message)
            return
        await self.writable.wait()
        if not connection.open:
            raise ClientDisconnected
        if message["type"] == "websocket.send":
            data, text = message.get("bytes"), message.get("text") or ""
            connection.write(frame_of(text.encode() if data is None else data, binary=data is not None))
        elif message["type"] == "websocket.close":
            code, reason = message.get("code", 1000), message.get("reason") or ""
            self.end(code, reason)
            counted = CloseReason.NORMAL if code == CloseReason.NORMAL.code else failure(code)
            connection.close_with(code, reason, counted, within_seconds=CLOSE_SECONDS)
        else:
            raise RuntimeError(f"{message['type']!r} was sent on an open WebSocket, not 'websocket.send' or '.close'")

    async def _answer(self, message: ASGISendEvent) -> None:
        """Answers the handshake."""
        if not self.handshake_complete and self.transport.is_closing():
            self.handshake_complete = True  # there will be none; uvicorn would log its absence as an error
            raise ClientDisconnected  # uvicorn would take what comes in answer to it for a mistake of the application
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # by an HTTP answer; uvicorn would log its absence as an error

    async def receive(self) -> ASGIReceiveEvent:
        """The next event of the connection."""
        event = await self.queue.get()
        if self.read_paused and self.queue.empty() and self.connection is not None:
            self.read_paused = False
            self.connection.transport.resume_reading()
        return event
