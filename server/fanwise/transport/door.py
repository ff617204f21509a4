"""The door: plain WebSocket handshakes of routes that are ours are answered here, before uvicorn and the application.

Whatever is unusual about a handshake, or refused, goes the long way, which gives the same answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

from starlette.requests import HTTPConnection
from starlette.types import Scope
from websockets.exceptions import InvalidHeader

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.sink import Work
from ..core.codes import CodedError, close_of
from ..core.dialect import Dialect
from ..core.filters import Filter
from ..core.publication import Beginning, check_channel_name
from ..core.reasons import CloseReason
from ..errors import (
    BeginningError,
    ChannelLimitError,
    ChannelNameError,
    DrainingError,
    FilterLimitError,
    FullError,
    NoChannelError,
    NotRunningError,
    TagError,
)
from ..logs.scrubbing import CONNECTION_LOGGER
from .addresses import peer_name
from .deflate import answer_to
from .handshakes import Asked, Handshake, accept_value, read_subprotocols
from .intake import make_intake
from .leased_transport import LeasedTransport
from .proxies import FORWARDED, TrustedProxies
from .stream_door import StreamDoor, begins_at_once
from .surroundings import Surroundings
from .websocket_connection import Receiver, WebSocketConnection

# {field that a plain handshake has once: its values, in lower case}
_PLAIN: Final = {
    b"upgrade": (b"websocket",),
    b"connection": (b"upgrade", b"keep-alive, upgrade"),
    b"sec-websocket-version": (b"13",),
}
_ANSWER: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s%s"
)
_FORWARDED: Final = frozenset(name.decode() for name in FORWARDED)
_NO_PLACE: Final = (ChannelLimitError, FilterLimitError, FullError, NoChannelError)
_REFUSALS: Final = (
    BeginningError,
    ChannelNameError,
    CodedError,
    DrainingError,
    InvalidHeader,
    NotRunningError,
    TagError,
    *_NO_PLACE,
)


class Entry(NamedTuple):
    """What a route makes of a handshake that it takes: of equal heads the same.

    Attributes:
        channel: The channel that the client is on from the start; None for none.
        subprotocol: The one that is agreed on; None for none.
        dialect: The client's.
        serve: Called with the client before its first message is worked on; returns what works on its messages.
        welcome: Called with the client at its start; None: nothing is.
        secret: Whether the head has brought a key.
        passing: Whether an equal head may be refused at another time.
        since: Where its stream begins; None for the head.
        filter: What it lets through; None: everything.
    """

    channel: str | None
    subprotocol: str | None
    dialect: Dialect
    serve: Callable[[Client], Work]
    welcome: Callable[[Client], None] | None = None
    secret: bool = False
    passing: bool = False
    since: Beginning | None = None
    filter: Filter | None = None

    def begin(self, client: Client) -> Work:
        """Welcomes the client; returns what works on its messages."""
        if self.welcome is not None:
            self.welcome(client)
        return self.serve(client)


class Plan(NamedTuple):
    """What the door makes of all handshakes with one head, whatever their keys are.

    Attributes:
        path: The route's.
        entry: What the route makes of them.
        deflates: Whether permessage-deflate is agreed on.
        fields: Those of the answer that depend on the head, and the end of the answer.
        make_receiver: Makes what takes a connection's messages; called with the connection and its client.
    """

    path: str
    entry: Entry
    deflates: bool
    fields: bytes
    make_receiver: Callable[[WebSocketConnection, Any], Receiver]


class DoorRoute(Protocol):
    """A route whose handshakes need no application around it."""

    def enter(self, handshake: Asked) -> Entry:
        """Returns what to make of a handshake; raises what its refusal is."""


class Door:
    """Answers the handshakes of some routes, and makes clients of their connections.

    Args:
        broadcaster: The node that takes the clients.
        routes: {path: its route}.
        streams: The door for event streams; None: there is none.
        proxies: The trusted proxies; None: no proxy is believed.
    """

    def __init__(
        self,
        broadcaster: Node,
        routes: Mapping[str, DoorRoute],
        streams: StreamDoor | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._broadcaster = broadcaster
        self._proxies = TrustedProxies() if proxies is None else proxies
        self.streams = streams
        self._routes = routes
        self._log = logging.getLogger(CONNECTION_LOGGER)
        self._headers: Iterable[Any] = ()  # that were written last
        self._lines = b""  # of an answer, for those

    def open(
        self, scope: Scope, url: bytes, transport: LeasedTransport, around: Surroundings, headers: Iterable[Any]
    ) -> bool:
        """Makes a client of a connection with a request; False: nothing was done, the handshake goes the long way.

        Args:
            scope: Of the request, as uvicorn has begun it: with its headers and addresses.
            url: The request's target.
            transport: The connection's.
            around: What all WebSockets of the server share.
            headers: Those that uvicorn adds to all answers: (name, value), in bytes.
        """
        raw_path, _, query = url.partition(b"?")
        accept = _accept(scope["headers"])
        offers = read_subprotocols([value for name, value in scope["headers"] if name == b"sec-websocket-protocol"])
        if accept is None or offers is None or scope["method"] != "GET":
            return False
        asked = _websocket_scope(scope, raw_path, query, offers)
        self._proxies.believe(asked)
        handshake = HTTPConnection(asked)
        extensions = [value for name, value in scope["headers"] if name == b"sec-websocket-extensions"]
        plan = self._plan(handshake, handshake.scope["path"], b", ".join(extensions).decode("latin-1"), around)
        if plan is None or not self.takes(plan):
            return False
        address = peer_name(handshake)
        self.accept(plan, accept, transport, address, headers)
        connection = WebSocketConnection(around, transport, deflates=plan.deflates)
        transport.set_protocol(connection)
        self.admit(connection, plan, address)
        return True

    def plan(self, handshake: Handshake, around: Surroundings) -> Plan | None:
        """Returns what to make of a plain handshake that a connection has begun with; None: it goes the long way."""
        if self._proxies and not _FORWARDED.isdisjoint(handshake.headers):
            return None
        return self._plan(handshake, handshake.path, handshake.headers.get("sec-websocket-extensions"), around)

    def takes(self, plan: Plan) -> bool:
        """Returns whether there is a place for another client, which need not wait for its channel."""
        try:
            self._broadcaster.check_room()
            return begins_at_once(self._broadcaster, plan.entry.channel, plan.entry.since)
        except _REFUSALS:
            return False

    def accept(
        self, plan: Plan, accept: bytes, transport: asyncio.Transport, address: str, headers: Iterable[Any]
    ) -> None:
        """Answers a handshake.

        Args:
            plan: What is made of it.
            accept: The value for its key.
            transport: The connection's.
            address: The peer's, as "host:port".
            headers: Those that uvicorn adds to all answers: (name, value), in bytes. Not to be changed afterwards.
        """
        if self._log.isEnabledFor(logging.INFO):
            self._log.info('%s - "WebSocket %s" [accepted]', address, plan.path)
        if headers is not self._headers:  # uvicorn makes new ones each second
            self._headers, self._lines = headers, b"".join([b"%s: %s\r\n" % header for header in headers])
        transport.write(_ANSWER % (accept, self._lines, plan.fields))

    def admit(self, connection: WebSocketConnection, plan: Plan, address: str) -> None:
        """Makes a client of a connection that was accepted."""
        broadcaster, entry = self._broadcaster, plan.entry
        try:
            about = entry.channel, entry.since, address, entry.dialect, None, entry.filter
            client = broadcaster.add_client(connection, None, *about)
        except _NO_PLACE as error:  # there was, before others came
            _, reason, text = close_of(error) or (None, CloseReason.FULL, CloseReason.FULL.text)
            connection.start_close(reason, text, within_seconds=broadcaster.close_seconds)
            return
        connection.make_receiver = plan.make_receiver
        if entry.welcome is not None:
            entry.welcome(client)

    def _plan(self, handshake: Asked, path: str, extensions: str | None, around: Surroundings) -> Plan | None:
        route = self._routes.get(path)
        if route is None:
            return None
        try:
            entry = route.enter(handshake)
            if entry.channel is not None:
                check_channel_name(entry.channel)
            agreed = answer_to(extensions) if around.deflate and extensions else None
        except _REFUSALS:
            return None
        lines = []
        if agreed is not None:
            lines.append(b"Sec-WebSocket-Extensions: %s\r\n" % agreed.encode())
        if entry.subprotocol is not None:
            lines.append(b"Sec-WebSocket-Protocol: %s\r\n" % entry.subprotocol.encode())
        fields = b"".join([*lines, b"\r\n"])
        return Plan(path, entry, agreed is not None, fields, partial(self._make_receiver, entry))

    def _make_receiver(self, entry: Entry, connection: WebSocketConnection, client: Client) -> Receiver:
        failed = partial(self._broadcaster.client_failed, client)
        heard = self._broadcaster.listener(client)
        return make_intake(entry.serve(client), connection.transport, failed=failed, heard=heard)


def _accept(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Returns the value of Sec-WebSocket-Accept; None if the handshake is not plain (RFC 6455 section 4.2.1)."""
    values: dict[bytes, list[bytes]] = {name: [] for name in _PLAIN}
    keys, origins = [], 0
    for name, value in headers:
        if name == b"sec-websocket-key":
            keys.append(value)
        elif name == b"origin":
            origins += 1
        elif name in values:
            values[name].append(value.lower())
    if (
        len(keys) != 1
        or origins > 1
        or any(len(values[name]) != 1 or values[name][0] not in _PLAIN[name] for name in values)
    ):
        return None
    return accept_value(keys[0])


def _websocket_scope(scope: Scope, raw_path: bytes, query: bytes, subprotocols: list[str]) -> Scope:
    """Returns the scope of the handshake, as far as routes look at it (ASGI)."""
    return {
        "type": "websocket",
        "scheme": "wss" if scope["scheme"] == "https" else "ws",
        "server": scope["server"],
        "client": scope["client"],
        "path": unquote(raw_path.decode("ascii", "replace")),
        "query_string": query,
        "headers": scope["headers"],
        "subprotocols": subprotocols,
    }
