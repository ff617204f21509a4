"""Looking at channels and clients over HTTP, and closing a client."""

from __future__ import annotations

from heapq import nsmallest
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from ..broadcaster.node import Node
from ..broadcaster.registry import Farewell
from ..broadcaster.statistics import ChannelStatistics
from ..broadcaster.turns import in_turns
from ..core.codes import CodedError, ErrorCode
from ..core.counters import name_of
from ..core.encoding import message_fields
from ..core.publication import Position, check_channel_name
from .auth.access import Access
from .messages import Base64, Channel, Data, Epoch, Key, Offset
from .problems import REFUSED, REFUSED_WITH_KEY, errors, json_response, key_guards, make_router, origin_guard
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


class ClientInfo(BaseModel):
    """A client, as it was when asked."""

    id: str
    address: Annotated[str, Field(examples=["127.0.0.1:50312"])]
    dialect: Annotated[str, Field(examples=["fanwise.v1"])]
    path: Annotated[
        Literal["direct", "transport", "asgi"],
        Field(description="how sweeps reach it: its socket, its transport (TLS), or plain ASGI, which is slow"),
    ]
    state: Annotated[Literal["ready", "behind"], Field(description="ready: it has everything")]
    channels: list[str]
    lag: Annotated[int, Field(description="publications that it still has to get")]
    lag_bytes: Annotated[int, Field(description="and their payload bytes")]
    buffered_bytes: Annotated[int, Field(description="what waits in user space for its socket")]
    behind_seconds: Annotated[float | None, Field(description="for how long it has been behind, to a quarter second")]
    rtt_seconds: Annotated[float | None, Field(description="from the latest ping to its pong")]
    connected_seconds: Annotated[float, Field(description="for how long it has been here")]


class ClosedInfo(BaseModel):
    """A client that has gone."""

    id: str
    address: str
    reason: Annotated[str, Field(examples=["slow"])]
    code: Annotated[int, Field(examples=[4008])]
    at: Annotated[float, Field(description="when, in seconds since 1970")]
    lag: Annotated[int, Field(description="publications that it still had to get")]


class Clients(BaseModel):
    """The clients, those furthest behind first, and the latest that have gone."""

    clients: list[ClientInfo]
    total: Annotated[int, Field(description="how many there are, also beyond `limit`")]
    closed: Annotated[list[ClosedInfo], Field(description="at most 200, the newest first")]


def _channel_info(channel: ChannelStatistics) -> dict[str, Any]:
    return {name: getattr(channel, name) for name in ChannelInfo.model_fields}


def closed_info(gone: Farewell) -> dict[str, Any]:
    """A `ClosedInfo`."""
    reason = gone.reason
    named = {"reason": name_of(reason), "code": reason.code, "at": gone.unix_seconds, "lag": gone.lag}
    return {"id": gone.id, "address": gone.address, **named}


_NO_LIST = (*REFUSED, ErrorCode.BAD_REQUEST)
_NO_HISTORY = (*_NO_LIST, ErrorCode.BAD_CHANNEL, ErrorCode.NO_CHANNEL)
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED, description="How many at most.")]


def inspection_routes(broadcaster: Node, access: Access) -> APIRouter:
    """`GET /channels`, `GET /channels/{channel}/history`, `GET /clients` and `DELETE /clients/{id}`."""
    router = make_router(broadcaster.tally.reject)
    _add_channels(router, broadcaster, access)
    _add_clients(router, broadcaster, access)
    return router


def _add_channels(router: APIRouter, broadcaster: Node, access: Access) -> None:
    async def channels(
        prefix: Annotated[str, Query(description="Only names that begin so.")] = "", limit: Limit = 1000
    ) -> Response:
        """The open channels: those with clients, and those that have had some, or a publication, a short while ago."""
        found = [name for name in broadcaster.inspect.channel_names() if name.startswith(prefix)]
        listed = map(broadcaster.inspect.channel, nsmallest(limit, found))
        return _json({"channels": [_channel_info(one) for one in listed if one], "total": len(found)})

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

    origin = [origin_guard(access)]
    router.add_api_route(
        "/channels", channels, dependencies=origin, responses={200: {"model": Channels}, **errors(*_NO_LIST)}
    )
    router.add_api_route(
        "/channels/{channel:path}/history",
        history,
        dependencies=origin,
        responses={200: {"model": History}, **errors(*_NO_HISTORY)},
    )


def _add_clients(router: APIRouter, broadcaster: Node, access: Access) -> None:
    async def clients(
        channel: Annotated[str | None, Query(description="Only those on this channel.")] = None, limit: Limit = 1000
    ) -> Response:
        """Who is here and how far behind, and who has gone lately and why."""
        closed = orjson.dumps([closed_info(gone) for gone in reversed(broadcaster.inspect.farewells())])
        found = await broadcaster.inspect.furthest_behind(limit=limit, channel=channel)
        listed = b",".join(await in_turns(lambda client: orjson.dumps(client._asdict()), found))
        total = len(broadcaster)
        if channel is not None:
            here = broadcaster.inspect.channel(channel)
            total = here.clients if here is not None else 0
        return json_response(b'{"clients":[%b],"total":%d,"closed":%b}' % (listed, total, closed))

    async def close(client_id: Annotated[str, Path(alias="id", description="As in `GET /clients`.")]) -> None:
        """Closes a client with 4503: it is asked not to come back."""
        if not broadcaster.close_client(client_id):
            raise CodedError(ErrorCode.NO_CLIENT, f"there is no client {client_id[:64]!r}")

    keys = key_guards(access)
    router.add_api_route(
        "/clients",
        clients,
        dependencies=keys,
        responses={200: {"model": Clients}, **errors(*REFUSED_WITH_KEY, ErrorCode.BAD_REQUEST)},
    )
    router.add_api_route(
        "/clients/{id}",
        close,
        methods=["DELETE"],
        status_code=204,
        dependencies=keys,
        responses=errors(*REFUSED_WITH_KEY, ErrorCode.NO_CLIENT),
    )


def _json(body: object) -> Response:
    return json_response(orjson.dumps(body))
