"""`GET /sse/{channel}`: a channel as an event stream (Server-Sent Events)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from ..broadcaster.node import Node
from ..core.codes import ErrorCode
from ..core.dialect import SSE, SSE_JSON
from ..core.publication import Position, check_channel_name
from ..transport.event_stream import MEDIA_TYPE, EventStreamResponse
from .auth.guards import REFUSED, Access, site_guard
from .problems import errors, make_router
from .publish import ChannelPath

_RESPONSES: dict[int | str, dict[str, Any]] = {
    HTTPStatus.OK: {
        "description": "Events: `subscribed`, the payloads, `gap`, and `close` at the end.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": "id: 9f2c01ab77e4:43\ndata: hello\n\n"}},
    },
    **errors(
        *REFUSED,
        ErrorCode.BAD_CHANNEL,
        ErrorCode.BAD_POSITION,
        ErrorCode.BAD_REQUEST,
        ErrorCode.DRAINING,
        ErrorCode.FULL,
    ),
}


def sse_routes(broadcaster: Node, access: Access, *, heartbeat_seconds: float) -> APIRouter:
    """`GET /sse/{channel}`."""
    router = make_router(broadcaster.tally.reject)

    async def stream(
        channel: ChannelPath,
        since: Annotated[
            str | None, Query(description="Position after which the stream goes on.", examples=["9f2c01ab77e4:42"])
        ] = None,
        last_event_id: Annotated[
            str | None, Header(description="Position, as browsers send it when they come back. Wins over `since`.")
        ] = None,
        format: Annotated[  # noqa: A002 - the name of the query parameter
            Literal["plain", "json"], Query(description="The payload alone, or the `message` of the JSON dialect.")
        ] = "plain",
    ) -> Response:
        """Streams a channel. The id of an event is its position, `epoch:offset`."""
        check_channel_name(channel)
        broadcaster.check_room()
        given = last_event_id or since
        return EventStreamResponse(
            broadcaster,
            channel=channel,
            since=Position.parse(given) if given else None,
            dialect=SSE_JSON if format == "json" else SSE,
            heartbeat_seconds=heartbeat_seconds,
        )

    router.add_api_route(
        "/sse/{channel:path}",
        stream,
        dependencies=[site_guard(access)],
        response_class=Response,
        responses=_RESPONSES,
    )
    return router
