"""The door for event streams: plain requests for streams of ours are answered here, before the application.

Whatever is unusual about a request, or refused, goes the long way, which gives the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..broadcaster.node import Node
from ..core.dialect import Dialect
from ..core.filters import Filter
from ..core.publication import Beginning
from ..errors import FanwiseError
from .addresses import peer_name
from .event_stream import HEADERS, MEDIA_TYPE, begin
from .event_stream_connection import EventStreamConnection
from .leased_transport import LeasedTransport
from .proxies import TrustedProxies
from .surroundings import Surroundings

# Fields with which a request goes the long way: a body comes, or another protocol is asked for.
_UNUSUAL: Final = {b"content-length", b"transfer-encoding", b"expect", b"upgrade"}
_STATUS: Final = b"HTTP/1.1 200 OK\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n\r\n"


class StreamEntry(NamedTuple):
    """What a route makes of a request that it takes.

    Attributes:
        channel: The stream's channel.
        since: Where the stream begins; None for the head.
        dialect: The stream's.
        filter: What it lets through; None: everything.
    """

    channel: str
    since: Beginning | None
    dialect: Dialect
    filter: Filter | None = None


class StreamRoute(Protocol):
    """A route whose streams need no application around them."""

    def enter(self, request: HTTPConnection, channel: str) -> StreamEntry:
        """Returns what to make of a request; raises what its refusal is."""


class Stream(NamedTuple):
    """A request that was taken in.

    Attributes:
        entry: What to make of it.
        address: The peer, as "host:port".
        fields: Those of the answer.
    """

    entry: StreamEntry
    address: str
    fields: list[tuple[bytes, bytes]]


class StreamDoor:
    """Answers the requests of some routes, and makes clients of their connections.

    Args:
        broadcaster: The node that takes the clients.
        routes: {path without the name of a channel at its end: its route}.
        middleware: That of the application, as far as known at the first request. It waits for nothing.
        proxies: The trusted proxies; None: no proxy is believed.
    """

    def __init__(
        self,
        broadcaster: Node,
        routes: Mapping[str, StreamRoute],
        middleware: Sequence[Middleware] = (),
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._broadcaster = broadcaster
        self._proxies = TrustedProxies() if proxies is None else proxies
        self._routes = routes
        self._middleware = middleware

    def enter(self, scope: Scope, method: bytes, url: bytes) -> Stream | None:
        """Returns what `open` makes a client of; None if the request goes the long way.

        Args:
            scope: Of the request without its line, as uvicorn has begun it: with its fields and addresses.
            method: The request's.
            url: Its target.
        """
        found = self._route(url) if method == b"GET" else None
        if found is None or any(name in _UNUSUAL for name, _ in scope["headers"]):
            return None
        route, channel = found
        asked = {**scope, "method": "GET", "query_string": url.partition(b"?")[2]}
        self._proxies.believe(asked)
        request = HTTPConnection(asked)
        try:
            entry = route.enter(request, channel)
            if not begins_at_once(self._broadcaster, entry.channel, entry.since):
                return None
        except FanwiseError:
            return None
        return Stream(entry, peer_name(request), self._fields(request.scope))

    def open(
        self, stream: Stream, transport: LeasedTransport, around: Surroundings, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Makes a client of the connection.

        Args:
            stream: What `enter` has returned in the same turn.
            transport: The connection's.
            around: What all connections of the server share.
            headers: Those that uvicorn adds to all answers.
        """
        entry = stream.entry
        connection = EventStreamConnection(around, transport)
        transport.set_protocol(connection)
        lines = [b"%s: %s\r\n" % field for field in (*headers, *stream.fields)]
        connection.write(b"".join([_STATUS, *lines, _CHUNKED]))
        about = entry.since, stream.address, entry.dialect, None, entry.filter
        begin(self._broadcaster, connection, entry.channel, *about)

    def _route(self, url: bytes) -> tuple[StreamRoute, str] | None:
        path = unquote(url.partition(b"?")[0].decode("ascii", "replace"))
        for prefix, route in self._routes.items():
            if path.startswith(prefix) and b"#" not in url:
                return route, path.removeprefix(prefix)
        return None

    def _fields(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Returns the fields of the answer, as the middleware has made them."""
        if not self._middleware:
            return _FIELDS
        begun: list[Message] = []

        async def send(message: Message) -> None:
            begun.append(message)

        _run(self._wrapped(scope, _receive, send))
        return list(begun[0]["headers"])

    @cached_property
    def _wrapped(self) -> ASGIApp:
        """The middleware around what begins the answer."""
        inner: ASGIApp = _begin
        for one in reversed(self._middleware):
            inner = one.cls(inner, *one.args, **one.kwargs)
        return inner


def begins_at_once(broadcaster: Node, channel: str | None, since: Beginning | None) -> bool:
    """Returns whether a client need not wait for its channel: an engine is asked about one that is not open here."""
    return channel is None or not broadcaster.shares or broadcaster.sharing.can_begin(channel, since)


_FIELDS: Final = [
    field for field in Response(media_type=MEDIA_TYPE, headers=HEADERS).raw_headers if field[0] != b"content-length"
]


async def _begin(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Begins the answer."""
    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": list(_FIELDS)})


async def _receive() -> Message:
    """Returns that the request has no body."""
    return {"type": "http.request"}


def _run(work: Any) -> None:
    """Runs a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise AssertionError("middleware waits for something: the door cannot be used")
