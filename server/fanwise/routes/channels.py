"""`GET /channels`, and what a channel's log retains: `GET /channels/{channel}/history`."""

from __future__ import annotations

from heapq import nsmallest
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from ..broadcaster.node import Node
from ..broadcaster.statistics import ChannelStatistics
from ..core.codes import CodedError, ErrorCode
from ..core.encoding import message_fields
from ..core.publication import Position, check_channel_name
from .auth.guards import REFUSED, Access, site_guard
from .json_models import Base64, Channel, Data, Epoch, Key, Offset
from .problems import errors, json_response, make_router
from .publish import ChannelPath

MAX_LISTED = 10_000


class ChannelInfo(BaseModel):
    """A channel, as it was when asked."""

    name: Channel
    epoch: Epoch
    head: Annotated[int, Field(description="offset of the newest publication; 0 before the first")]
    clients: Annotated[int, Field(description="who is on it")]
    retained: Annotated[int, Field(description="publications in the log")]
    retained_bytes: Annotated[int, Field(description="and their payload bytes")]


class Channels(BaseModel):
    """The channels, in the order of their names."""

    channels: list[ChannelInfo]
    total: Annotated[int, Field(description="how many there are, also beyond `limit`")]


class HistoryMessage(BaseModel):
    """A publication."""

    offset: Offset
    data: Data
    key: Key | None = None
    encoding: Base64 | None = None


class Missing(BaseModel):
    """Publications that were asked for and are not retained: offsets, both included."""

    first: Annotated[int, Field(alias="from")]
    last: Annotated[int, Field(alias="to", description="0: none of this log")]
    reason: Literal["history", "epoch"]


class History(BaseModel):
    """What a channel's log retains."""

    channel: Channel
    epoch: Epoch
    head: Offset
    messages: list[HistoryMessage]
    gap: Missing | None


def _channel_info(channel: ChannelStatistics) -> dict[str, Any]:
    return {name: getattr(channel, name) for name in ChannelInfo.model_fields}


_NO_LIST = (*REFUSED, ErrorCode.BAD_REQUEST)
_NO_HISTORY = (*_NO_LIST, ErrorCode.BAD_CHANNEL, ErrorCode.NO_CHANNEL)
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED, description="How many at most.")]


def channel_routes(broadcaster: Node, access: Access) -> APIRouter:
    """`GET /channels` and `GET /channels/{channel}/history`."""
    router = make_router(broadcaster.tally.reject)
    _add_channels(router, broadcaster, access)
    _add_history(router, broadcaster, access)
    return router


def _add_channels(router: APIRouter, broadcaster: Node, access: Access) -> None:
    async def channels(
        prefix: Annotated[str, Query(description="Only names that begin so.")] = "", limit: Limit = 1000
    ) -> Response:
        """The open channels: those with clients, and those that have had some, or a publication, a short while ago."""
        found = [name for name in broadcaster.inspect.channel_names() if name.startswith(prefix)]
        listed = map(broadcaster.inspect.channel, nsmallest(limit, found))
        return _json({"channels": [_channel_info(one) for one in listed if one], "total": len(found)})

    router.add_api_route(
        "/channels",
        channels,
        dependencies=[site_guard(access)],
        responses={200: {"model": Channels}, **errors(*_NO_LIST)},
    )


def _add_history(router: APIRouter, broadcaster: Node, access: Access) -> None:
    async def history(
        channel: ChannelPath,
        since: Annotated[int | None, Query(ge=0, description="Only what came after this offset.")] = None,
        epoch: Annotated[str | None, Query(description="The log that `since` counts in; by default this one.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="How many publications at most.")] = 100,
    ) -> Response:
        """What a channel's log retains, the oldest first. Ask again after the last offset for what follows."""
        here = broadcaster.inspect.channel(check_channel_name(channel))
        asked = None if (since is None and epoch is None) or here is None else Position(epoch or here.epoch, since or 0)
        found = broadcaster.inspect.history(channel, since=asked, limit=limit)
        if found is None:
            raise CodedError(
                ErrorCode.NO_CHANNEL, f"there is no channel {channel!r}: nothing was published to it lately"
            )
        gap = found.gap and {"from": found.gap.first, "to": found.gap.last, "reason": found.gap.reason.value}
        messages = [message_fields(publication) for publication in found.publications]
        log = {"channel": channel, "epoch": found.epoch, "head": found.head}
        return _json({**log, "messages": messages, "gap": gap})

    router.add_api_route(
        "/channels/{channel:path}/history",
        history,
        dependencies=[site_guard(access)],
        responses={200: {"model": History}, **errors(*_NO_HISTORY)},
    )


def _json(body: object) -> Response:
    return json_response(orjson.dumps(body))
