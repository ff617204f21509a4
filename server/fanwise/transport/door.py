"""The door: plain WebSocket handshakes of routes that are ours are answered here, before uvicorn and the application.

Whatever is unusual about a handshake, or refused, goes the long way, which gives the same answers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

from starlette.requests import HTTPConnection
from starlette.types import Scope
from websockets.exceptions import InvalidHeader

from ..broadcaster.node import Node
from ..broadcaster.sink import Work
from ..core.codes import CodedError
from ..core.dialect import Dialect
from ..core.publication import check_channel_name
from ..core.reasons import CloseReason
from ..errors import ChannelLimitError, ChannelNameError, DrainingError, FullError
from ..logs.scrubbing import CONNECTION_LOGGER
from .addresses import peer_name
from .deflate import answer_to
from .handshakes import Asked, Handshake, accept_value, read_subprotocols
from .intake import Intake
from .leased_transport import LeasedTransport
from .proxies import FORWARDED, TrustedProxies
from .stream_door import StreamDoor
from .surroundings import Surroundings
from .websocket_connection import WebSocketConnection

# {field that a plain handshake has once: its values, in lower case}
_PLAIN: Final = {
    b"upgrade": (b"websocket",),
    b"connection": (b"upgrade", b"keep-alive, upgrade"),
    b"sec-websocket-version": (b"13",),
}
_ANSWER: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
)
_FORWARDED: Final = frozenset(name.decode() for name in FORWARDED)
_REFUSALS: Final = (CodedError, ChannelNameError, ChannelLimitError, FullError, DrainingError, InvalidHeader)


class Entry(NamedTuple):
    """What a route makes of a handshake that it takes.

    Attributes:
        channel: The channel that the client is on from the start; None for none.
        subprotocol: The one that is agreed on; None for none.
        dialect: The client's.
        serve: Called with the client; returns what works on its messages.
    """

    channel: str | None
    subprotocol: str | None
    dialect: Dialect
    serve: Callable[..., Work]


class Peer(NamedTuple):
    """A connection that may become a client's.

    Attributes:
        transport: The connection's.
        address: The peer's, as "host:port".
        sock: Its socket, without TLS; None: the transport is asked.
    """

    transport: asyncio.Transport
    address: str
    sock: socket.socket | None = None


class _Asks(NamedTuple):
    """What a handshake asks for: its path, the accept value of its key, and its offers of extensions."""

    path: str
    accept: bytes
    extensions: str | None


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
        peer = Peer(transport, peer_name(handshake))
        extensions = [value for name, value in scope["headers"] if name == b"sec-websocket-extensions"]
        asks = _Asks(handshake.scope["path"], accept, b", ".join(extensions).decode("latin-1") or None)
        return self._open(handshake, asks, peer, around, headers)

    def open_plain(
        self, handshake: Handshake, peer: Peer, around: Surroundings, headers: Iterable[tuple[bytes, bytes]]
    ) -> bool:
        """Makes a client of a connection that has begun with a plain handshake; False: nothing was done.

        Args:
            handshake: What has come on the connection.
            peer: The connection.
            around: What all WebSockets of the server share.
            headers: Those that uvicorn adds to all answers: (name, value), in bytes.
        """
        accept = accept_value(handshake.headers.get("sec-websocket-key", "").encode())
        if accept is None or (self._proxies and not _FORWARDED.isdisjoint(handshake.headers)):
            return False
        asks = _Asks(handshake.path, accept, handshake.headers.get("sec-websocket-extensions"))
        return self._open(handshake, asks, peer, around, headers)

    def _open(
        self, handshake: Asked, asks: _Asks, peer: Peer, around: Surroundings, headers: Iterable[tuple[bytes, bytes]]
    ) -> bool:
        entry = self._entry(handshake, asks.path)
        if entry is None:
            return False
        try:
            extensions = answer_to(asks.extensions) if around.deflate and asks.extensions else None
        except _REFUSALS:
            return False
        if self._log.isEnabledFor(logging.INFO):
            self._log.info('%s - "WebSocket %s" [accepted]', peer.address, asks.path)
        peer.transport.write(_answer(asks.accept, entry.subprotocol, extensions, headers))
        connection = WebSocketConnection(around, peer.transport, deflates=extensions is not None, sock=peer.sock)
        peer.transport.set_protocol(connection)
        self._admit(connection, entry, peer.address)
        return True

    def _entry(self, handshake: Asked, path: str) -> Entry | None:
        """Returns what the route of `path` makes of a handshake; None if the handshake has to go the long way."""
        route = self._routes.get(path)
        if route is None:
            return None
        try:
            entry = route.enter(handshake)
            self._broadcaster.check_room()
            if entry.channel is not None:
                check_channel_name(entry.channel)
        except _REFUSALS:
            return None
        return entry

    def _admit(self, connection: WebSocketConnection, entry: Entry, address: str) -> None:
        broadcaster = self._broadcaster
        try:
            client = broadcaster.add_client(connection, channel=entry.channel, address=address, dialect=entry.dialect)
        except ChannelLimitError:  # there is no room for another channel
            connection.start_close(CloseReason.FULL, CloseReason.FULL.text, within_seconds=broadcaster.close_seconds)
            return
        connection.receiver = Intake(
            entry.serve(client), connection.transport, failed=partial(broadcaster.client_failed, client)
        )


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


def _answer(
    accept: bytes, subprotocol: str | None, extensions: str | None, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    lines = [_ANSWER % accept, *[b"%s: %s\r\n" % header for header in headers]]
    if extensions is not None:
        lines.append(b"Sec-WebSocket-Extensions: %s\r\n" % extensions.encode())
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: %s\r\n" % subprotocol.encode())
    return b"".join([*lines, b"\r\n"])
