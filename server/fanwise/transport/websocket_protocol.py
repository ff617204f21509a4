"""The protocol class for uvicorn (`--ws fanwise.protocol:FanwiseProtocol`): the fast path.

uvicorn's WebSocket implementation stays. The class adds a sink for sweeps, an inbox without task switches, and bounds.

Writing to a socket beside its transport is safe under two invariants. First, a client is in a ready group exactly while
its transport is open and empty: with a high-water mark of 0, any buffered byte calls `pause_writing` at once. Second, a
client in a ready group has a lease of its descriptor, which ends before the transport is taken away or closed. No group
ever holds a number that may have been given to another connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from ..broadcaster.sink import EXTENSION
from ..core.codes import ErrorCode
from ..core.publication import Kind
from ..core.reasons import CloseReason, failure
from ..logs.scrubbing import CONNECTION_LOGGER, hide_query_string
from .connection import HELD_BYTES, SocketConnection
from .fair_share import LARGE_BYTES, MANY_FRAMES
from .frames import BINARY, OTHER, TEXT, Fragments, FrameCutter, carries_nothing, utf_8_tail
from .inbox import Inbox
from .leased_transport import LeasedTransport
from .limits import BUDGET, Budget, Limits
from .pacing import MessageDeadline, Pacer
from .refusals import RefusedError, refuse, uncounted
from .small_frames import SMALL_HEADS, SmallFrames
from .sockets import SocketOptions, lost_reason

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

CLOSE_SECONDS = 5.0  # how long a closing connection is waited for; a peer on a bad line answers in a few round trips
_TEXT_KIND, _BINARY_KIND = Kind.TEXT, Kind.BINARY  # CPython 3.11 makes a call of each attribute of an enum
FLOOD_CLOSE_SECONDS = 0.5  # for which a peer that sent more is still read from, so that the close frame reaches it
PONG_GRACE_SECONDS = 1.0  # for pongs that are here already, when the loop was late
# Turns of the loop for the answers to what came before a broken rule, and the time between two. Then the close frame.
LAST_TURNS, TURN_SECONDS = 10, 0.005
_CLOSE_FRAME = 0x88
_FRAGMENT_BYTES = 48  # of an object, beside its data


class FanwiseProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, with a sink that sweeps can write to."""

    socket_options = SocketOptions()
    limits = Limits()
    refused: Callable[[ErrorCode], None] = staticmethod(uncounted)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = CLOSE_SECONDS
        self.sink: SocketConnection  # from `connection_made` on
        self.transport: LeasedTransport
        self._inbox: Inbox | None = None
        self._cutter = FrameCutter(max_bytes=self.config.ws_max_size)
        self._abort_timer: asyncio.TimerHandle | None = None
        self._deaf = False  # whether what comes in is dropped: the connection ends
        self._fragments = Fragments(at_most=self.limits.fragments)
        self._text_tail = b""  # of the text whose fragments come in: the beginning of a character
        self.budget = Budget(self.limits)
        self._pacer: Pacer  # from `connection_made` on
        self._small_frames: SmallFrames
        self._deadline: MessageDeadline
        self._pong_overdue = False
        self._unsent_bytes = 0  # when a pong was looked for last
        self._abort_at = math.inf  # unknown to uvloop's handle once its time has come
        self._pinged_at = 0.0
        # Single connections have a logger of their own. websockets logs no frames and headers there: they carry keys.
        self.logger = self.conn.logger = logging.getLogger(CONNECTION_LOGGER)
        self.logger.addFilter(hide_query_string)  # the logger keeps one of it, however often
        self.conn.debug = False

    # Life of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the lease of the socket, and makes the transport report every buffered byte."""
        own = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio's
        leased = LeasedTransport(own, on_end=self._lease_ended, debug=self.loop.get_debug())
        leased.report_every_byte()
        if not isinstance(transport, LeasedTransport):  # the HTTP side has done it before it handed the connection over
            self.socket_options.apply(leased.get_extra_info("socket"))
        self.sink = SocketConnection(self, leased.lease)
        self._pacer = Pacer(self.loop, leased, self.budget, self._take)
        self._small_frames = SmallFrames(leased, self.budget, max_bytes=self.config.ws_max_size)
        seconds = self.limits.message_seconds
        self._deadline = MessageDeadline(self.loop, leased, seconds=seconds, late=self._message_is_late)
        super().connection_made(leased)

    def _lease_ended(self) -> None:
        """Leaves the ready groups: the transport closes, or is another protocol's."""
        self._closing(self._reason())

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves the ready groups now: the descriptor is closed, and may be reused, right after this call."""
        self.sink.ended(lost_reason(exc) or self._reason())
        self.transport.lease.end()
        self._pacer.stop()
        self._deadline.stop()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        if self._inbox is not None:
            self._inbox.end()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport has buffered something."""
        super().pause_writing()
        self.sink.paused()

    def resume_writing(self) -> None:
        """The transport is empty."""
        super().resume_writing()
        self.sink.resumed()

    def data_received(self, data: bytes) -> None:
        """The handshake, and then frames."""
        if not self.handshake_initiated:
            super().data_received(data)
            if not self.handshake_initiated:  # the library has refused it, and says nothing
                self._refuse(ErrorCode.BAD_REQUEST, f"no WebSocket handshake: {self.conn.handshake_exc}")
            return
        if not self.handshake_complete:  # RFC 6455 section 4.1; an answer to it would come before the handshake's
            self._refuse(ErrorCode.BAD_REQUEST, "nothing may follow a handshake before its answer")
        else:
            self._take(data)

    def _take(self, data: bytes = b"") -> None:  # noqa: C901
        """Takes in what has come, some frames a turn, and paces the peer."""
        if self._deaf:
            self._pacer.drain()
            return
        share, size = self._pacer.share, len(data)
        at_most = share.frames if size <= LARGE_BYTES or share.take_read(size) else 0
        frames = self._cutter.feed(data, raw=self._inbox is None or self.close_sent, at_most=at_most)
        others = idle = 0
        for kind, piece in frames:
            if kind == OTHER:
                others += 1
                idle += carries_nothing(piece)
                if piece[0] not in SMALL_HEADS or not self._small_frames.take(piece, self):
                    self._parse(piece)
            elif self._inbox is not None:
                self._deliver(self._inbox, kind, piece)
            if self._deaf or self.transport.is_closing():
                return  # what comes after the end does not count
        budget, count = self.budget, len(frames)
        budget.messages -= count
        budget.bytes -= size
        if count > MANY_FRAMES and size:  # without a read, it was this connection's turn
            share.spend(count)
        if self._cutter.rest or self.frames or self._deadline.begun_at:
            unfinished = bool(self._cutter.rest or self.frames) and not self.close_sent
            self._deadline.watch(unfinished=unfinished, finished=others < count)
            if self.frames or self.sink.held or len(self._cutter.rest) > HELD_BYTES:
                self.sink.receiving()
        if self._cutter.more or idle or budget.messages < 0 or budget.bytes < 0:
            self._pace(idle)
        else:
            self.transport.release_reading()

    def _parse(self, frame: bytes) -> None:
        if frame[0] == _CLOSE_FRAME:  # also in the middle of a message (RFC 6455 section 5.4)
            self.conn.current_size = None
            self._small_frames.send_pongs()
        WebSocketsSansIOProtocol.data_received(self, frame)  # `super()` takes longer

    def _pace(self, idle: int) -> None:
        """Sends the pongs, paces the peer, and ends the connection of a flood."""
        self._small_frames.send_pongs()
        if not self._pacer.pace(control_frames=idle, more=self._cutter.more):
            self._drop(CloseReason.RATE, CloseReason.RATE.text)

    def _message_is_late(self) -> None:
        if not self.close_sent:
            self._drop(CloseReason.RATE, f"rate: a message takes more than {self.limits.message_seconds:g} s")

    def _drop(self, reason: CloseReason, text: str) -> None:
        """Closes the connection of a peer that sends too much. Later bytes are dropped unparsed."""
        self._deaf = True
        self._small_frames.send_pongs()
        self._pacer.drain()  # so that the close frame can arrive before a reset does
        self.start_close(reason, text, within_seconds=FLOOD_CLOSE_SECONDS)

    def _refuse(self, code: ErrorCode, problem: str) -> None:
        """Answers a handshake where neither the application nor the library does, and closes the connection."""
        refuse(self.transport, RefusedError(code, problem), count=self.refused, client=self.client)

    def eof_received(self) -> None:
        """The peer will send no more: the transport closes itself."""
        super().eof_received()
        self.transport.lease.end()

    def shutdown(self) -> None:
        """The server stops: closing must come to its end before uvicorn's patience does, and the loop is closed."""
        if self.config.timeout_graceful_shutdown is not None:
            self.close_timeout = min(self.close_timeout, self.config.timeout_graceful_shutdown / 2)
        self._closing(CloseReason.SHUTDOWN)
        if not self.handshake_complete:
            self._refuse(ErrorCode.DRAINING, "the server is restarting: come back in a moment")
            return
        if self.conn.state is not State.OPEN:
            self.close_sent = True  # the peer was first: uvicorn must not send a close frame of its own
        super().shutdown()

    def keepalive_timeout(self) -> None:
        """Closes a connection whose pong has not come in time, unless the pong could not come.

        While data waits in front of the ping, audits judge clients, and this method only connections without one. While
        reading is paused, no connection is judged.
        """
        self.pong_timer = None
        if self.close_sent or self.transport.is_closing():
            return
        before, self._unsent_bytes = self._unsent_bytes, self.transport.get_write_buffer_size()
        if 0 < before <= self._unsent_bytes and not self.sink.owned:
            self.transport.abort()
            return
        if self._unsent_bytes or not self.transport.is_reading():
            self.pong_timer = self.loop.call_later(self.ping_timeout or 0, self.keepalive_timeout)
            return
        if not self._pong_overdue:  # a late loop runs its timers before it reads
            self._pong_overdue = True
            self.pong_timer = self.loop.call_later(PONG_GRACE_SECONDS, self.keepalive_timeout)
            return
        self.start_close(CloseReason.NO_PONG, CloseReason.NO_PONG.text, within_seconds=0)

    async def send(self, message: ASGISendEvent) -> None:
        """The application's own messages, its close among them."""
        if not self.handshake_complete and self.transport.is_closing():
            self.handshake_complete = True  # there will be none; uvicorn would log its absence as an error
            raise ClientDisconnected  # uvicorn would take what comes in answer to it for a mistake of the application
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # by an HTTP answer; uvicorn would log its absence as an error
        if self.close_sent:  # nothing may follow it, although the transport is open
            self._closing(self._reason())

    def _reason(self) -> CloseReason:
        """Returns why the connection ends, as far as the closing handshake shows."""
        sent = self.conn.close_sent
        if self.conn.close_rcvd is not None or (sent is not None and sent.code == CloseReason.NORMAL.code):
            return CloseReason.NORMAL
        return failure(None if sent is None else sent.code)

    def _closing(self, reason: CloseReason) -> None:
        """Closing waits for the buffer to be flushed and for the peer's answer, which may never come: then abort."""
        self.sink.ended(reason)
        if self.disconnected:
            return
        end = self.loop.time() + self.close_timeout
        if self._abort_at <= end:
            return
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._abort_at = end
        self._abort_timer = self.loop.call_at(end, self.transport.abort)

    # Called by the sink.

    @property
    def received_bytes(self) -> int:
        """Bytes of unfinished frames and messages, with what an object takes, and of unread messages."""
        unread = 0 if self._inbox is None else self._inbox.size_bytes
        return len(self._cutter.rest) + (self.conn.current_size or 0) + _FRAGMENT_BYTES * len(self.frames) + unread

    def start_close(self, reason: CloseReason, text: str, *, within_seconds: float) -> None:
        """Sends a close frame behind what is buffered, without waiting for that or for the peer's answer."""
        self.close_timeout = min(self.close_timeout, within_seconds)
        if self.conn.state is State.OPEN and not self.transport.is_closing():
            self.stop_keepalive()
            self.conn.send_close(reason.code, text)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.transport.resume_reading()  # whatever the peer still sends is dropped, up to its answer
            # While this timer is set, uvicorn does not close the transport when the endpoint returns.
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)
        self._closing(reason)

    def listen(self) -> Inbox:
        """An inbox for all messages that the application has not read; it takes uvicorn's place."""
        if self.read_paused:  # uvicorn's own brake; the inbox has another
            self.read_paused = False
            self.transport.resume_reading()
        inbox = self._inbox = Inbox(pause=self.transport.pause_reading, resume=self.transport.resume_reading)
        while not self.queue.empty():
            inbox.put_event(self.queue.get_nowait())
        return inbox

    # Incoming.

    def handle_connect(self, event: Request) -> None:
        """Offers the connection to the application."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            extensions = cast("dict[str, Any]", self.scope["extensions"])
            extensions[EXTENSION], extensions[BUDGET] = self.sink, self.budget

    def handle_ping(self) -> None:
        """Drops the answer: what comes here came after our close frame."""
        self.conn.data_to_send()

    def send_keepalive_ping(self) -> None:
        """Asks for a sign of life."""
        self._pong_overdue = False
        self._unsent_bytes = 0
        self._pinged_at = time.monotonic()  # uvloop's own clock stands still during a turn
        super().send_keepalive_ping()

    def handle_pong(self, event: Frame) -> None:
        """An answer, perhaps to the ping that was sent last."""
        asked = self.pending_ping_payload is not None
        super().handle_pong(event)
        if asked and self.pending_ping_payload is None:
            self.sink.ponged(time.monotonic() - self._pinged_at)

    def handle_text(self, event: Frame) -> None:
        """A text, or its first fragment."""
        self._text_tail = b""
        if event.fin or self._is_text_so_far(event):
            WebSocketsSansIOProtocol.handle_text(self, event)

    def handle_cont(self, event: Frame) -> None:
        """The next fragment of a message. Empty ones are legal and no reason to keep them."""
        if self.close_sent:
            self.frames.clear()
        elif len(self.frames) >= self._fragments.join_at and not self._fragments.join(self.frames):
            self.frames.clear()
            self._drop(CloseReason.TOO_BIG, f"message too big: it has more than {self.limits.fragments} fragments")
        elif (event.data or event.fin) and (self.curr_msg_data_type != "text" or self._is_text_so_far(event)):
            self.frames.append(event.data)  # type: ignore[arg-type]  # bytes: the library has cut them from a stream
            if event.fin:
                self._fragments.end()
                self.send_receive_event_to_app()

    def _is_text_so_far(self, event: Frame) -> bool:
        """Whether a fragment may be one of a text; if not, fails the connection (RFC 6455 section 8.1)."""
        if not self._text_tail and event.data.isascii():  # type: ignore[union-attr]
            return True
        tail = utf_8_tail(self._text_tail + event.data, final=event.fin)
        if tail is not None:
            self._text_tail = tail
        elif not self.close_sent:
            self.conn.send_close(CloseReason.BAD_TEXT.code, CloseReason.BAD_TEXT.text)
            self.handle_parser_exception()
        return tail is not None

    def handle_parser_exception(self) -> None:
        """Fails the connection (RFC 6455 section 7.1.7). Messages before the broken rule are still answered."""
        self._deaf = True
        self._small_frames.send_pongs()
        self.stop_keepalive()
        self.transport.release_reading()
        self._fail(turns=LAST_TURNS)

    def _fail(self, turns: int) -> None:
        """Sends the close frame, and drops what still comes: unread bytes would reset the connection before it."""
        if turns:
            self.loop.call_later(TURN_SECONDS, self._fail, turns - 1)
            return
        sent = self.conn.close_sent
        if sent is None or self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": sent.code, "reason": sent.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(FLOOD_CLOSE_SECONDS, self.transport.close)
        self._closing(self._reason())

    def send_receive_event_to_app(self) -> None:
        """A whole message is here: straight to the inbox, where there is one."""
        if self._inbox is None or self.close_sent:
            return super().send_receive_event_to_app()
        frames, self.frames, self._deadline.begun_at = self.frames, [], 0.0
        kind = TEXT if self.curr_msg_data_type == "text" else BINARY
        return self._deliver(self._inbox, kind, b"".join(frames))

    def _deliver(self, inbox: Inbox, kind: int, payload: bytes) -> None:
        if kind == BINARY:
            inbox.put(_BINARY_KIND, payload)
        elif payload.isascii() or utf_8_tail(payload, final=True) is not None:
            inbox.put(_TEXT_KIND, payload)
        else:
            self.conn.send_close(CloseReason.BAD_TEXT.code, CloseReason.BAD_TEXT.text)
            self.handle_parser_exception()
