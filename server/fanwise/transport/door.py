"""The door: plain WebSocket handshakes of routes that are ours are answered here, before uvicorn and the application.

Whatever is unusual about a handshake, or refused, goes the long way, which gives the same answers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
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
from .intake import Intake
from .leased_transport import LeasedTransport
from .stream_door import StreamDoor
from .surroundings import Surroundings
from .websocket_connection import WebSocketConnection

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY_BYTES: Final = 16
# {field that a plain handshake has once: its values, in lower case}
_PLAIN: Final = {
    b"upgrade": (b"websocket",),
    b"connection": (b"upgrade", b"keep-alive, upgrade"),
    b"sec-websocket-version": (b"13",),
}
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_ANSWER: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
)
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


class DoorRoute(Protocol):
    """A route whose handshakes need no application around it."""

    def enter(self, handshake: HTTPConnection) -> Entry:
        """Returns what to make of a handshake; raises what its refusal is."""


class Door:
    """Answers the handshakes of some routes, and makes clients of their connections.

    Args:
        broadcaster: The node that takes the clients.
        routes: {path: its route}.
        streams: The door for event streams; None: there is none.
    """

    def __init__(self, broadcaster: Node, routes: Mapping[str, DoorRoute], streams: StreamDoor | None = None) -> None:
        self._broadcaster = broadcaster
        self.streams = streams
        self._routes = routes
        self._log = logging.getLogger(CONNECTION_LOGGER)

    def open(
        self, scope: Scope, url: bytes, transport: LeasedTransport, around: Surroundings, headers: Iterable[Any]
    ) -> bool:
        """Makes a client of the connection; False: nothing was done, and the handshake goes the long way.

        Args:
            scope: Of the request, as uvicorn has begun it: with its headers and addresses.
            url: The request's target.
            transport: The connection's.
            around: What all WebSockets of the server share.
            headers: Those that uvicorn adds to all answers: (name, value), in bytes.
        """
        raw_path, _, query = url.partition(b"?")
        route = self._routes.get(unquote(raw_path.decode("ascii", "replace")))
        accept = _accept(scope["headers"])
        offers = _subprotocols(scope["headers"])
        if route is None or accept is None or offers is None or scope["method"] != "GET":
            return False
        handshake = HTTPConnection(_websocket_scope(scope, raw_path, query, offers))
        try:
            entry = route.enter(handshake)
            self._broadcaster.check_room()
            if entry.channel is not None:
                check_channel_name(entry.channel)
            extensions = _extensions(scope["headers"]) if around.deflate else None
        except _REFUSALS:
            return False
        self._log.info('%s - "WebSocket %s" [accepted]', peer_name(handshake), handshake.scope["path"])
        transport.write(_answer(accept, entry.subprotocol, extensions, headers))
        connection = WebSocketConnection(around, transport, deflates=extensions is not None)
        transport.set_protocol(connection)
        self._admit(connection, entry, peer_name(handshake))
        return True

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
    try:
        if len(base64.b64decode(keys[0], validate=True)) != _KEY_BYTES:
            return None
    except binascii.Error:
        return None
    return base64.b64encode(hashlib.sha1(keys[0] + _GUID, usedforsecurity=False).digest())


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


def _subprotocols(headers: Iterable[tuple[bytes, bytes]]) -> list[str] | None:
    """Returns the subprotocols that are offered; None if a field is no list of tokens (RFC 6455 section 4.1)."""
    found: list[str] = []
    for name, value in headers:
        if name == b"sec-websocket-protocol":
            names = [one for offer in value.decode("latin-1").split(",") if (one := offer.strip(" \t"))]
            if not names or not all(map(_TOKEN.fullmatch, names)):
                return None
            found += names
    return found


def _extensions(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Returns the answer to the offers of extensions; None for none (RFC 6455 section 9.1)."""
    offers = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-extensions"]
    return answer_to(", ".join(offers)) if offers else None


def _answer(
    accept: bytes, subprotocol: str | None, extensions: str | None, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    lines = [_ANSWER % accept, *(b"%s: %s\r\n" % header for header in headers)]
    if extensions is not None:
        lines.append(b"Sec-WebSocket-Extensions: %s\r\n" % extensions.encode())
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: %s\r\n" % subprotocol.encode())
    return b"".join([*lines, b"\r\n"])
