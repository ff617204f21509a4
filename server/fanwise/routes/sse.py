"""`GET /sse/{channel}`: a channel as an event stream (Server-Sent Events)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..broadcaster.node import Node
from ..core.codes import CodedError, ErrorCode
from ..core.dialect import SSE, SSE_JSON, Dialect
from ..core.publication import check_channel_name
from ..core.rights import Rights
from ..core.roles import Role
from ..errors import FanwiseError
from ..transport.addresses import peer_name
from ..transport.event_stream import MEDIA_TYPE, EventStreamResponse
from ..transport.stream_door import StreamEntry
from .auth.credentials import Read
from .auth.guards import KEY_REFUSED, REFUSED_WITH_KEY, Access, site_guard
from .beginnings import FilterQuery, LastQuery, SinceQuery, read_beginning, to_listen
from .channel_rules import ChannelRules
from .problems import error_response, errors, make_router, note_refusal
from .publish import ChannelPath

CHANNEL: Final = "{channel:path}"  # the end of the route's path
_PLAIN: Final = "plain"
_DIALECTS: Final = {_PLAIN: SSE, "json": SSE_JSON}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    HTTPStatus.OK: {
        "description": "Events: `subscribed`, the payloads, `gap`, and `close` at the end.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": "id: 9f2c01ab77e4:43\ndata: hello\n\n"}},
    },
    **errors(
        *REFUSED_WITH_KEY,
        ErrorCode.BACKPLANE_DOWN,
        ErrorCode.BAD_CHANNEL,
        ErrorCode.BAD_POSITION,
        ErrorCode.BAD_REQUEST,
        ErrorCode.BAD_TAGS,
        ErrorCode.CHANNEL_FULL,
        ErrorCode.DRAINING,
        ErrorCode.FULL,
        ErrorCode.NO_CHANNEL,
        ErrorCode.TOO_MANY_FILTERS,
    ),
}


class EventStreamEndpoint:
    """Serves `GET /sse/{channel}`.

    Args:
        broadcaster: The node that takes the clients.
        access: Hosts and pages that may connect.
        heartbeat_seconds: Time between two comments of a stream.
    """

    def __init__(self, broadcaster: Node, access: Access, *, heartbeat_seconds: float) -> None:
        self._broadcaster = broadcaster
        self._access = access
        self._heartbeat_seconds = heartbeat_seconds
        self._rules = ChannelRules(broadcaster)
        self._reject: Callable[[ErrorCode], None] = broadcaster.tally.reject

    def enter(self, request: HTTPConnection, channel: str) -> StreamEntry:
        """Returns what to make of a request whose parameters nobody has looked at.

        Raises:
            FanwiseError: The request is refused.
        """
        if self._access.read is not Read.OPEN and Role.READ not in self._access.roles(request):
            raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)
        entry = self._read(request, channel)
        if not self._rules.open and not self._broadcaster.shares:  # behind a backplane others have to be asked
            self._rules.check(channel, operator=self._access.is_operator(request))
        if entry.filter is not None and not self.asks:
            self._broadcaster.inspect.check_filter(channel, entry.filter, peer_name(request))
        return entry

    def _read(self, request: HTTPConnection, channel: str) -> StreamEntry:
        self._access.check_site(request)
        event_id = request.headers.get("last-event-id")
        if not request.scope["query_string"]:
            return self._entry(channel, event_id, None, None, (), _DIALECTS[_PLAIN])
        query = request.query_params
        format = query.get("format", _PLAIN)  # noqa: A001 - the name of the query parameter
        if format not in _DIALECTS:
            raise CodedError(ErrorCode.BAD_REQUEST, f"format is one of {', '.join(_DIALECTS)}")
        since, last, filters = query.get("since"), query.get("last"), query.getlist("filter")
        return self._entry(channel, event_id, since, last, filters, _DIALECTS[format])

    async def stream(
        self,
        request: Request,
        channel: ChannelPath,
        since: SinceQuery = None,
        last: LastQuery = None,
        filter: FilterQuery = None,
        last_event_id: Annotated[
            str | None,
            Header(description="Position, as browsers send it when they come back. Wins over `since` and `last`."),
        ] = None,
        format: Annotated[  # noqa: A002 - the name of the query parameter
            Literal["plain", "json"], Query(description="The payload alone, or the `message` of the JSON dialect.")
        ] = "plain",
    ) -> Response:
        """Streams a channel. The id of an event is its position, `epoch:offset`."""
        entry = self._entry(channel, last_event_id, since, last, filter or (), _DIALECTS[format])
        rights = await self._access.rights(request)
        await self._check(request, entry, rights, operator=self._access.is_operator(request, rights))
        return self._response(entry, rights)

    def respond(self, request: HTTPConnection, channel: str, rights: Rights) -> Response:
        """Returns the stream for a request of an application's own route; rights are asked before its head is sent.

        Raises:
            FanwiseError: The request is refused.
        """
        entry = self._read(request, channel)
        stream = self._response(entry, rights)
        if not (rights or self._broadcaster.shares or not self._rules.open):
            self._broadcaster.inspect.check_filter(channel, entry.filter, peer_name(request))
            return stream
        operator = self._access.is_operator(request, rights)
        return _AskingResponse(stream, partial(self._check, request, entry, rights, operator=operator), self._reject)

    async def _check(
        self, request: HTTPConnection, entry: StreamEntry, rights: Rights | None, *, operator: bool
    ) -> None:
        """Raises FanwiseError if a stream is refused. A reader without a right is not told which channels exist."""
        channel = entry.channel
        if rights is not None:
            await rights.check_all(channel, *to_listen(entry.since))
        if not self._rules.open:
            await self._rules.check_everywhere(channel, operator=operator)
        if entry.filter is not None:
            self._broadcaster.inspect.check_filter(channel, entry.filter, peer_name(request))
        if self._broadcaster.shares:
            await self._broadcaster.sharing.ready(channel, entry.since)

    @property
    def asks(self) -> bool:
        """Whether requests have users or rights, which only the application can tell."""
        return self._access.asks

    def _response(self, entry: StreamEntry, rights: Rights | None) -> EventStreamResponse:
        user = None if rights is None else rights.user
        seconds = self._heartbeat_seconds
        return EventStreamResponse(self._broadcaster, **entry._asdict(), heartbeat_seconds=seconds, user=user)

    def _entry(
        self,
        channel: str,
        last_event_id: str | None,
        since: str | None,
        last: str | None,
        filters: Collection[str],
        dialect: Dialect,
    ) -> StreamEntry:
        check_channel_name(channel)
        self._broadcaster.check_room()
        begin, wanted = read_beginning(since, last, filters, event_id=last_event_id)
        return StreamEntry(channel, begin, dialect, wanted)


class _AskingResponse(Response):
    """A stream, or the refusal of it: rights and other servers may have to be waited for, which an endpoint need not.

    Args:
        stream: The stream.
        check: Raises FanwiseError if the stream is refused.
        reject: Counts a refusal.
    """

    def __init__(
        self, stream: EventStreamResponse, check: Callable[[], Awaitable[None]], reject: Callable[[ErrorCode], None]
    ) -> None:
        super().__init__()
        self._stream = stream
        self._check = check
        self._reject = reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream, or the refusal; then runs the background tasks."""
        response: Response = self._stream
        try:
            await self._check()
        except FanwiseError as error:
            response = error_response(note_refusal(HTTPConnection(scope), error, self._reject), str(error))
        response.background = self.background
        await response(scope, receive, send)


def sse_routes(broadcaster: Node, access: Access, *, heartbeat_seconds: float) -> APIRouter:
    """`GET /sse/{channel}`."""
    router = make_router(broadcaster.tally.reject)
    router.add_api_route(
        f"/sse/{CHANNEL}",
        EventStreamEndpoint(broadcaster, access, heartbeat_seconds=heartbeat_seconds).stream,
        dependencies=[site_guard(access)],
        response_class=Response,
        responses=_RESPONSES,
    )
    return router
