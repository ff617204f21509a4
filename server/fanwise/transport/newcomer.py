"""Connections before their first request: nothing is made for them that only a request needs.

A plain handshake is answered by the door, out of the one read that has brought it. Whatever else comes first is
uvicorn's, with the connection: its protocol class is made then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from .acceptor import ProtocolMaker
from .door import Door, Plan
from .fair_share import FairShare, fair_share
from .handshakes import KEY_CHARS, KEY_FIELD, accept_value, read_handshake
from .http_protocol import FanwiseHttpProtocol
from .places import Place
from .sockets import Descriptor, bound_reads
from .surroundings import Surroundings, surroundings
from .websocket_connection import WebSocketConnection

FIRST_FRAMES: Final = 16  # of a turn, for a plain handshake, or for the protocol class of another request
_ENDS_PER_TURN: Final = 64
PLANS: Final = 256  # heads that are remembered: about half a megabyte at most
PLAN_BYTES: Final = 1_024  # of the largest of them


class Newcomer(WebSocketConnection):
    """The protocol of a connection before its first request.

    A plain handshake makes a `WebSocketConnection` of this very object, by changing its class: giving the transport to
    another protocol would take two more system calls and another object. uvloop holds on to the first `data_received`,
    which both classes share; here an `Arrival` is fed in place of frames.

    Args:
        others: What all newcomers share.
        place: The connection's.
        peer: The peer's address and port.
        sock: Its socket; None with TLS.
    """

    __slots__ = ()

    def __init__(self, others: Newcomers, place: Place, peer: tuple[str, int], sock: Descriptor | None) -> None:
        self._incoming = Arrival(self, others, place, peer, sock)  # type: ignore[assignment]  # fed until it is over

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for the first request."""
        self.transport = transport  # type: ignore[assignment]  # leased from the handshake on
        self.arrival.begin(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nobody asks why
        """The peer has left without a request."""
        self.arrival.end()
        self.detach()

    def eof_received(self) -> bool:
        """The peer will send no request: the event loop closes the transport."""
        return False

    def pause_writing(self) -> None:
        """Nothing was written."""

    resume_writing = pause_writing

    def shutdown(self) -> None:
        """The server stops; nothing was asked."""
        self.transport.close()

    @property
    def arrival(self) -> Arrival:
        """What is known of the connection."""
        return self._incoming  # type: ignore[return-value]  # until it is over

    def detach(self) -> None:
        """Forgets its arrival, which knows this object: each is freed at once, and not by the garbage collector."""
        self._incoming = None

    def become(self, around: Surroundings, *, deflates: bool) -> WebSocketConnection:
        """Returns this object as a WebSocket, whose handshake has been answered."""
        arrival = self.arrival
        self.__class__ = WebSocketConnection  # type: ignore[assignment]  # the slots are the same
        WebSocketConnection.__init__(self, around, arrival.transport, deflates=deflates, sock=arrival.sock)
        return self


class Arrival:
    """Owns the invariant that a first request is worked on once, in its turn, by the door or by uvicorn's protocol.

    Args:
        newcomer: The connection's protocol.
        others: What all newcomers share.
        place: The connection's.
        peer: The peer's address and port.
        sock: Its socket; None with TLS.

    Attributes:
        transport: The connection's, from `begin` on.
        came_at: When that was called, on the loop's clock.
    """

    __slots__ = ("_data", "_others", "_peer", "_place", "came_at", "newcomer", "sock", "transport")

    def __init__(
        self,
        newcomer: Newcomer,
        others: Newcomers,
        place: Place,
        peer: tuple[str, int],
        sock: Descriptor | None,
    ) -> None:
        self.newcomer = newcomer
        self._others = others
        self._place = place
        self._peer = peer
        self._data = b""  # what has come, while the connection waits for its turn
        self.sock = sock
        self.transport: asyncio.Transport
        self.came_at = 0.0

    @property
    def address(self) -> str:
        """The peer's, as "host:port"."""
        host, port = self._peer
        return f"{host}:{port}"

    def begin(self, transport: asyncio.BaseTransport) -> None:
        """Waits for the first request."""
        self.transport = transport  # type: ignore[assignment]  # uvloop's do not inherit from asyncio's
        self._place.end = self.transport.abort
        bound_reads(transport)
        self._others.add(self)

    def end(self) -> None:
        """The connection is lost."""
        self._others.remove(self)

    def feed(self, data: bytes) -> None:
        """Begins with the first request: at once, if this turn has room for another one."""
        if self._data:
            self._data += data
            self.transport.pause_reading()
        elif self._others.share.take(FIRST_FRAMES):
            self._begin(data)
        else:
            self._data = data
            self._others.heard(self)
            self._others.share.wait(self._go_on, frames=FIRST_FRAMES)

    def _go_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._begin(self._data)

    def _begin(self, data: bytes) -> None:
        others = self._others
        others.heard(self)
        if self._place.plain and others.enter(data, self):
            self._place.check(b"", ())
        else:
            others.remove(self)
            self.newcomer.detach()
            others.hand_over(self.transport, self._place, data, came_at=self.came_at)


class Newcomers:
    """Owns the invariant that a connection without a first request ends after `head_seconds`, by one timer for all.

    Args:
        door: Answers plain handshakes.
        around: What all WebSockets of the server share.
        server_state: The server's books.
        make_http: Makes uvicorn's protocol for a connection.
        secure: Whether connections come over TLS.

    Attributes:
        share: The turns of the loop.
    """

    def __init__(
        self,
        door: Door,
        around: Surroundings,
        server_state: ServerState,
        make_http: Callable[[], FanwiseHttpProtocol],
        *,
        secure: bool = False,
    ) -> None:
        self._door = door
        self._around = around
        self._server_state = server_state
        self._make_http = make_http
        self._secure = secure
        self._waiting: dict[Arrival, None] = {}  # nothing has come of their requests; longest waiting first
        self._timer: asyncio.TimerHandle | None = None
        self._plans: dict[bytes, Plan] = {}  # {head without its key: what is made of it}, of the latest heads
        self.share: FairShare = fair_share(around.loop)

    def __call__(self, place: Place, peer: tuple[str, int], sock: Descriptor | None) -> Newcomer:
        """Makes the protocol of a connection (`acceptor.ProtocolMaker`)."""
        return Newcomer(self, place, peer, sock)

    def add(self, one: Arrival) -> None:
        """Gives a connection time for its first request."""
        self._around.connections.add(one.newcomer)
        self._waiting[one] = None
        one.came_at = self._around.loop.time()
        if self._timer is None:
            self._timer = self._around.loop.call_later(self._around.limits.head_seconds, self._look)

    def heard(self, one: Arrival) -> None:
        """Stops the clock of a connection: something has come."""
        self._waiting.pop(one, None)

    def remove(self, one: Arrival) -> None:
        """Forgets a connection."""
        self._around.connections.discard(one.newcomer)
        self._waiting.pop(one, None)

    def enter(self, data: bytes, one: Arrival) -> bool:
        """Returns whether the door has taken the connection: `data` is a plain handshake."""
        found = self._find(data)
        accept = None if found is None else accept_value(found[1])
        if found is None or accept is None or not self._door.takes(found[0]):
            return False
        plan, address = found[0], one.address
        self._door.accept(plan, accept, one.transport, address, self._server_state.default_headers)
        self._door.admit(one.newcomer.become(self._around, deflates=plan.deflates), plan, address)
        return True

    def _find(self, data: bytes) -> tuple[Plan, bytes] | None:
        """Returns what to make of a handshake, and its key; None if it goes the long way.

        Most clients send one of few heads, but for the key: what is made of those is remembered.
        """
        parts = _without_key(data)
        plan = None if parts is None else self._plans.get(parts[0])
        if parts is not None and plan is not None:
            return plan, parts[1]
        limits = self._around.limits
        handshake = read_handshake(data, max_bytes=limits.head_bytes, max_fields=limits.headers, secure=self._secure)
        plan = None if handshake is None else self._door.plan(handshake, self._around)
        if handshake is None or plan is None:
            return None
        key = handshake.headers.get("sec-websocket-key", "").encode()
        if (
            parts is not None
            and parts[1] == key
            and not (plan.entry.secret or plan.entry.passing or "cookie" in handshake.headers)
        ):
            self._remember(parts[0], plan)
        return plan, key

    def _remember(self, head: bytes, plan: Plan) -> None:
        if len(self._plans) >= PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[head] = plan

    def hand_over(self, transport: asyncio.Transport, place: Place, data: bytes, *, came_at: float) -> None:
        """Gives a connection to uvicorn's protocol, with all that has come."""
        protocol = self._make_http()
        protocol.place = place
        protocol.waited_seconds = self._around.loop.time() - came_at
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        protocol.data_received(data)

    def _look(self) -> None:
        """Ends some of the connections whose time is up, and looks again for others."""
        self._timer = None
        loop, seconds = self._around.loop, self._around.limits.head_seconds
        due = [one for one in islice(self._waiting, _ENDS_PER_TURN) if one.came_at + seconds <= loop.time()]
        for one in due:
            self.heard(one)
            one.transport.close()
        left = next(iter(self._waiting), None)
        if left is not None:
            self._timer = loop.call_at(left.came_at + seconds, self._look)


def _without_key(data: bytes) -> tuple[bytes, bytes] | None:
    """Returns a head without its key, and the key; None for one that is too long to be remembered, or has none."""
    if len(data) > PLAN_BYTES:
        return None
    at = data.find(KEY_FIELD)
    if at < 0:
        return None
    begin, end = at + len(KEY_FIELD), at + len(KEY_FIELD) + KEY_CHARS
    return data[:begin] + data[end:], data[begin:end]


def protocol_maker(config: Config, server_state: ServerState, app_state: dict[str, Any]) -> ProtocolMaker:
    """Returns what makes the protocols of accepted connections: newcomers where there is a door, else uvicorn's.

    Args:
        config: uvicorn's, with our protocol classes.
        server_state: The server's books.
        app_state: The state of the application's lifespan.
    """
    http_class = cast("type[FanwiseHttpProtocol]", config.http_protocol_class)

    def make_http() -> FanwiseHttpProtocol:
        return http_class(config=config, server_state=server_state, app_state=app_state)

    def make(place: Place, _peer: tuple[str, int], _sock: Descriptor | None) -> FanwiseHttpProtocol:
        protocol = make_http()
        protocol.place = place
        return protocol

    if http_class.door is None:
        return make
    around = surroundings(config, server_state, asyncio.get_running_loop(), http_class.limits)
    return Newcomers(http_class.door, around, server_state, make_http, secure=config.is_ssl)
