"""The protocol class for uvicorn's HTTP side (`http=FanwiseHttpProtocol`): event streams on the fast path.

The application is offered `scope["extensions"]["fanwise"]`: a function by which an event stream leaves the application
once its head was sent (`passage`). Sweeps write to that connection, chunk by chunk. One request is worked on at a time:
bytes behind a request are not parsed before the request was answered. A connection therefore has at most one response
in the making, and changes its protocol only behind a whole head. All else stays uvicorn's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..broadcaster.sink import EXTENSION
from ..core.codes import CodedError, ErrorCode
from .asgi import quiet
from .deadlines import Deadlines
from .door import Door
from .event_stream_connection import EventStreamConnection
from .fair_share import LARGE_BYTES, REQUEST_FRAMES, fair_share
from .leased_transport import LeasedTransport
from .limits import BUDGET, Budget, Limits
from .passage import Passage, gone
from .places import PLACE, Place
from .refusals import RefusedError, always_room, refuse, uncounted
from .request_cutter import BodyOnly, RequestCutter, body_of
from .sockets import SocketOptions
from .stream_door import Stream, StreamDoor
from .surroundings import Surroundings, surroundings
from .upgrades import upgrade_problem

_UNCLEAR_END = "it is not clear where the request ends"


class FanwiseHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, one request at a time, with event streams that sweeps can write to."""

    socket_options = SocketOptions()
    limits = Limits()
    door: Door | None = None
    place: Place | None = None  # of the connection, if an `Acceptor` has accepted it
    waited_seconds = 0.0  # for the first byte, before the connection was this protocol's
    refused: Callable[[ErrorCode], None] = staticmethod(uncounted)
    no_room: Callable[[bytes], RefusedError | None] = staticmethod(always_room)  # for an upgrade of that URL

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = quiet(self.app)
        self.transport: LeasedTransport
        self._cutter = RequestCutter(head_bytes=self.limits.head_bytes)
        self.budget = Budget(self.limits)
        self._waiting = b""  # what has come and was not parsed
        self._parsed = 0  # bytes of it that were parsed all the same
        self._in_head = False  # whether what the parser sees now is a head
        self._received = False  # whether the parser has seen the end of the request that is worked on
        self._continuing = False  # whether its peer waits for 100 Continue, or has just got it
        self._upgrade_ignored = False  # whether the request asks for another protocol that is not WebSocket
        self._stopping = False  # whether the server does
        self._refusal: RefusedError | None = None  # why the parser was stopped
        self._entering: Callable[[], None] | None = None  # the door, for an event stream's request
        self._deadlines: Deadlines  # from `connection_made` on

    # Life of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the lease of the socket."""
        own = cast("asyncio.Transport", transport)  # uvloop's do not inherit from asyncio's
        leased = LeasedTransport(own, on_end=self._lease_ended, debug=self.loop.get_debug())
        super().connection_made(leased)
        if self.place is not None:
            self.place.end = leased.abort
        else:  # an `Acceptor`'s connections inherit the options of its listener
            self.socket_options.apply(leased.get_extra_info("socket"))
        self._deadlines = Deadlines(self.loop, leased, late=self._late, limits=self.limits)
        self._deadlines.expect_head(waited_seconds=self.waited_seconds)

    def _lease_ended(self) -> None:
        """The transport closes, or is another protocol's."""
        self._deadlines.expect_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the transport: its descriptor is closed, and may be reused, right after this call."""
        self._deadlines.stop()
        self.transport.lost()
        self._waiting = b""
        super().connection_lost(exc)
        self._let_go()

    def eof_received(self) -> None:
        """The peer will send no more: the transport closes itself."""
        self.transport.lease.end()

    def pause_writing(self) -> None:
        """The transport has buffered something."""
        super().pause_writing()
        self._deadlines.expect_progress()

    def resume_writing(self) -> None:
        """The transport is empty."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._deadlines.flushed()

    def shutdown(self) -> None:
        """The server stops: uvicorn would wait for an endless stream, and for a body that may never come."""
        self._stopping = True
        if self._received or self._cutter.fresh:
            super().shutdown()
        else:
            self._answer(RefusedError(ErrorCode.DRAINING, "the server stops: send the request again in a moment"))

    # One request at a time.

    def data_received(self, data: bytes) -> None:
        """Parses up to the end of a request; the rest waits until that was answered, and more of it in the kernel."""
        self._unset_keepalive_if_required()
        self._waiting, self._parsed = self._waiting[self._parsed :] + data if self._waiting else data, 0
        self._deadlines.body_came(len(data))
        self.budget.bytes -= len(data)
        if self.budget.bytes < 0 and (seconds := self.budget.pause_seconds()):
            self.transport.hold_reading()
            self.loop.call_later(seconds, fair_share(self.loop).wait, self._parse)
        elif (self._received or self._cutter.fresh) and not fair_share(self.loop).take(REQUEST_FRAMES):
            self._wait_for_a_turn(len(data))
        elif len(data) > LARGE_BYTES and not fair_share(self.loop).take_read(len(data)):
            self._wait_for_a_turn(len(data), frames=0)
        else:
            self._parse()

    def _wait_for_a_turn(self, size: int = 0, *, frames: int = REQUEST_FRAMES) -> None:
        """Parses on in a later turn: many connections may have a request, or much of one."""
        self.transport.hold_reading()
        fair_share(self.loop).wait_with_read(self._parse, size, frames=frames)

    def on_message_begin(self) -> None:
        """The parser has found a request."""
        if self._received:
            raise AssertionError("a request begins before the one before it was answered")  # closes the connection
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of a head; those of trailers are not for the application (RFC 9110 section 6.5.1)."""
        if self._in_head:
            if len(self.headers) >= self.limits.headers:
                self._refuse_parsing(
                    ErrorCode.HEAD_TOO_LARGE, f"a request has more than the {self.limits.headers} headers allowed"
                )
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Offers the application an event stream in place of its response."""
        self._in_head = False
        self._upgrade_ignored = self.parser.should_upgrade() and not self._should_upgrade()
        self._judge_head()
        if not self._cutter.complete:
            self._deadlines.expect_body()
        self._continuing = self.expect_100_continue
        self._entering = self._look_at_door()
        if self._entering is not None:
            return
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:  # not a WebSocket's handshake, which has none
            offered = {EXTENSION: self._open_stream, BUDGET: self.budget, PLACE: self.place}
            cast("dict[str, Any]", self.scope)["extensions"] = offered
            if self.place is not None and self.place.short:
                self.cycle.keep_alive = False

    def _judge_head(self) -> None:
        """Measures the body. Refuses a request whose head is unclear, or that finds no place."""
        try:
            body_bytes, chunked = body_of(self.parser.get_http_version(), self.headers)
            self._cutter.head_ended(body_bytes=body_bytes, chunked=chunked)
            if self.place is not None:
                self.place.check(self.url, self.headers)
        except RefusedError as refusal:
            self._refusal = refusal
            raise
        except CodedError as error:
            self._refusal = RefusedError.of(error)
            raise self._refusal from error

    def on_message_complete(self) -> None:
        """The parser has found the end of a request."""
        if self._upgrade_ignored and not self._cutter.complete:
            return  # the parser will see the body yet
        if not self._cutter.complete:  # half a body must not look like a whole one to the application
            self._refuse_parsing(ErrorCode.BAD_REQUEST, _UNCLEAR_END)
        self._received = True
        self._continuing = False
        self._deadlines.expect_nothing()
        if self._entering is None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Goes on to the next request, if it is here already, in the next turn."""
        super().on_response_complete()
        if self._waiting and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._wait_for_a_turn()
        elif not self._received and not self.transport.is_closing():
            self._continuing = False
            self._deadlines.expect_rest()

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over, unless a response is in the making or something came behind the handshake."""
        if problem := self._upgrade_problem() or self.no_room(self.url):
            self._answer(problem)
            return
        self._hand_over()
        if not self._enter():
            self.transport.place = self.place
            super().handle_websocket_upgrade()
        self._let_go()

    def _hand_over(self) -> None:
        """Leaves nothing behind that the next protocol does not know of."""
        self._waiting = b""
        self.flow.resume_reading()
        self.transport.release_reading()
        self._deadlines.stop()

    def _enter(self) -> bool:
        """Returns whether the door has answered the handshake; the connection is another protocol's then."""
        if self.door is None:
            return False
        headers = self.server_state.default_headers
        entered = self.door.open(cast("Scope", self.scope), self.url, self.transport, self._surroundings(), headers)
        if entered:
            self.connections.discard(self)
        return entered

    def _surroundings(self) -> Surroundings:
        return surroundings(self.config, self.server_state, self.loop, self.limits)

    def _look_at_door(self) -> Callable[[], None] | None:
        """Returns what opens an event stream when its request has ended; None if the application is to be asked."""
        door = None if self.door is None else self.door.streams
        if door is None or not self._cutter.complete or self._parsed < len(self._waiting):
            return None
        if self.parser.get_http_version() != "1.1":
            return None
        stream = door.enter(cast("Scope", self.scope), self.parser.get_method(), self.url)
        return None if stream is None else partial(self._open_by_door, door, stream)

    def _open_by_door(self, door: StreamDoor, stream: Stream) -> None:
        self._hand_over()
        self.connections.discard(self)
        self.server_state.total_requests += 1
        door.open(stream, self.transport, self._surroundings(), self.server_state.default_headers)
        self._let_go()

    def _upgrade_problem(self) -> RefusedError | None:
        """Returns the refusal of an upgrade that the WebSocket protocol class cannot answer; None if there is none."""
        if self._parsed < len(self._waiting) or not (self.cycle is None or self.cycle.response_complete):
            return RefusedError(ErrorCode.BAD_REQUEST, "an upgrade comes alone, and after the answer before it")
        version, short = self.scope["http_version"], self.place is not None and self.place.short
        return upgrade_problem(version, self.url, self.headers, short=short)

    def _feed(self, piece: bytes) -> None:
        """Gives `piece`, which reaches over no end of a head or request, to the parser."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:  # ignored (RFC 9110 section 7.8); the parser has taken what follows for another protocol
                body = BodyOnly(self.on_body, self.on_message_complete)
                self.parser = httptools.HttpRequestParser(self if self._received else body)
                if not self._received:
                    self.parser.feed_data(self._cutter.head_of_rest())
        except httptools.HttpParserError:
            self._answer(self._refusal or RefusedError(ErrorCode.BAD_REQUEST, "what came is no HTTP request"))

    def _answer(self, refusal: RefusedError) -> None:
        """Answers a request that is not taken in, unless it or another has an answer, and closes the connection."""
        answering = self.cycle is not None and not self.cycle.response_complete
        begun = (answering and self.cycle.response_started) or (self._answered and not self._cutter.in_head)
        url = getattr(self, "url", b"")
        refuse(self.transport, refusal, count=self.refused, client=self.client, url=url, answer=not begun)

    @property
    def _answered(self) -> bool:
        """Whether the request that the parser has seen last was answered, wherever its body is."""
        return self.cycle is not None and self.cycle.scope is self.scope and self.cycle.response_complete

    def _refuse_parsing(self, code: ErrorCode, problem: str) -> NoReturn:
        """Stops the parser, which calls this."""
        self._refusal = RefusedError(code, problem)
        raise self._refusal

    def _late(self) -> None:
        """Ends a connection whose request does not come: with an answer, if it has begun to."""
        in_line = self._waiting and not self.transport.is_reading()  # what came waits for its turn: the server is late
        if in_line or (self._continuing and self.cycle is not None):  # the peer's time begins with 100 Continue
            self._continuing = self._continuing and getattr(self.cycle, "waiting_for_100_continue", False)
            self._deadlines.expect_body()
        elif self._in_head or self._waiting or not self._cutter.fresh:
            self._answer(RefusedError(ErrorCode.LATE, "the request did not come in time"))
        else:
            self.transport.close()

    def _parse(self) -> None:
        """Feeds the parser up to the end of an unanswered request, or with all that is here."""
        if self.parser is None or self.transport.is_closing():
            return
        while self._parsed < len(self._waiting) and self._may_parse():
            if not self._parse_piece():
                return
        if self._parsed < len(self._waiting):
            self.transport.hold_reading()
        else:
            self._waiting, self._parsed = b"", 0
            self.transport.release_reading()
            if self._received and self._answered:  # before its body came, which has stopped this clock
                self._unset_keepalive_if_required()
                seconds, late = self.timeout_keep_alive, self.timeout_keep_alive_handler
                self.timeout_keep_alive_task = self.loop.call_later(seconds, late)
            elif not self._received and not self._cutter.fresh and self._cutter.in_head:
                self._deadlines.expect_head()

    def _parse_piece(self) -> bool:
        """Feeds the next piece to the parser; returns whether more may be parsed in this turn."""
        start = self._parsed
        try:
            self._parsed = self._cutter.cut(self._waiting, start)
        except RefusedError as refusal:
            self._answer(refusal)
            return False
        self._feed(self._waiting[start : self._parsed])
        if self.parser is None or self.transport.is_closing():
            return False
        if self._cutter.complete is not self._received:
            self._answer(RefusedError(ErrorCode.BAD_REQUEST, _UNCLEAR_END))
        elif self._entering is not None:
            self._entering()
        elif self._cutter.many_chunks:
            self._wait_for_a_turn()
        else:
            return True
        return False

    def _may_parse(self) -> bool:
        """Whether the next byte may be parsed: it belongs to the current request, or the current one was answered."""
        if self.parser is None or self.transport.is_closing():
            return False
        if self._received:
            if self.cycle is not None and not self.cycle.response_complete:
                return False
            self._received = False
            self._cutter.begin()
            if self._upgrade_ignored:
                self._upgrade_ignored = False
                self.parser = httptools.HttpRequestParser(self)
        return True

    def _let_go(self) -> None:
        """Forgets what leads back here, so that it is freed at once and not by the collector."""
        self.parser = self._refusal = self._entering = None  # type: ignore[assignment]
        if self.cycle is not None:
            cast("dict[str, Any]", self.cycle.scope)["extensions"] = {EXTENSION: gone}

    def _open_stream(self, scope: Scope) -> Passage | None:
        """Returns what an event stream leaves the application by, in answer to the request of `scope`; None: nothing.

        The request has to be the one that is worked on. Its head was not sent yet.
        """
        cycle = self.cycle
        if cycle is None or cycle.scope is not scope or cycle.response_started:
            return None
        passage = Passage(self.transport, cycle, self._take_stream)
        cycle.transport = cast("asyncio.Transport", passage)
        return passage

    def _take_stream(self, interval_seconds: float) -> EventStreamConnection | None:
        """Makes an event stream of the connection, whose response was begun; None if it has ended."""
        transport = self.transport
        if self._waiting:  # a request behind one whose response never ends would never be answered
            transport.close()
        if self.cycle.disconnected or transport.is_closing():
            return None
        self._hand_over()
        self.connections.discard(self)
        self.server_state.total_requests += 1
        connection = EventStreamConnection(self._surroundings().at_interval(interval_seconds), transport)
        transport.set_protocol(connection)
        self.cycle.disconnected = True  # what the application still sends goes nowhere, and what it waits for has come
        self.cycle.message_event.set()
        if self._stopping:  # uvicorn tells each connection once
            self.loop.call_soon(connection.shutdown)
        self._let_go()
        return connection
