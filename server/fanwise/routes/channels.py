"""`GET /channels`, and what a channel's log retains: `GET /channels/{channel}/history`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal, Protocol

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from ..broadcaster.inspector import Inspector
from ..broadcaster.node import Node
from ..broadcaster.statistics import ChannelStatistics
from ..broadcaster.turns import SharedTurn
from ..core.codes import CodedError, ErrorCode
from ..core.encoding import message_fields
from ..core.programs import Program, program_of
from ..core.publication import Position, check_channel_name
from ..core.rights import Action
from .auth.guards import REFUSED_WITH_KEY, Access, list_guards, note_end, site_guard
from .json_models import Base64, Channel, Data, Epoch, Key, Offset
from .json_tags import TagsField
from .problems import errors, make_router
from .publish import ChannelPath
from .streams import LongAnswers

MAX_LISTED = 10_000
_READ_AT_ONCE = 2  # publications: those are held while a peer does not read


class ChannelInfo(BaseModel):
    """A channel, at the time of the answer."""

    name: Channel
    epoch: Epoch
    head: Annotated[int, Field(description="offset of the newest publication; 0 before the first")]
    clients: Annotated[int, Field(description="clients that are on it")]
    retained: Annotated[int, Field(description="publications in the log")]
    retained_bytes: Annotated[int, Field(description="and their payload bytes")]
    pattern: Annotated[str | None, Field(description="pattern whose options hold for the channel; null: none")] = None
    program: Annotated[
        Program | None, Field(description="program of Fanwise's own that the channel belongs to; null: none")
    ] = None


class Channels(BaseModel):
    """The channels, in the order of their names."""

    channels: list[ChannelInfo]
    total: Annotated[int, Field(description="number of all, also beyond `limit`")]


class HistoryMessage(BaseModel):
    """A publication."""

    offset: Offset
    data: Data
    key: Key | None = None
    tags: TagsField | None = None
    encoding: Base64 | None = None


class Missing(BaseModel):
    """Offsets that were asked for and are not retained, both included."""

    first: Annotated[int, Field(alias="from")]
    last: Annotated[int, Field(alias="to", description="0: none of this log")]
    reason: Literal["history", "epoch"]


class History(BaseModel):
    """The publications that a channel's log retains."""

    channel: Channel
    epoch: Epoch
    head: Offset
    messages: list[HistoryMessage]
    gap: Missing | None


class AllChannels(Protocol):
    """The channels of all workers behind one engine. `channels_model`: of the JSON of their list."""

    channels_model: type[BaseModel]

    async def channels(self, *, prefix: str, limit: int) -> AsyncGenerator[bytes, None]:
        """Returns the JSON of their list, in parts."""


_TOLD: Final = tuple(name for name in ChannelInfo.model_fields if name != "program")


def channel_info(channel: ChannelStatistics) -> dict[str, Any]:
    """A `ChannelInfo`."""
    return {**{name: getattr(channel, name) for name in _TOLD}, "program": program_of(channel.name)}


_NO_LIST = (*REFUSED_WITH_KEY, ErrorCode.BAD_REQUEST, ErrorCode.FULL)
_NO_HISTORY = (
    *_NO_LIST,
    ErrorCode.BACKPLANE_DOWN,
    ErrorCode.BAD_CHANNEL,
    ErrorCode.NO_CHANNEL,
)
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED, description="Largest number of entries.")]
_SCOPE = (
    "Behind a backplane: all workers, with more columns, or the worker that answers. There is no difference without."
)
Scope = Annotated[Literal["all", "worker"], Query(description=_SCOPE)]


def channel_routes(
    broadcaster: Node, access: Access, answers: LongAnswers, everywhere: AllChannels | None = None
) -> APIRouter:
    """`GET /channels` and `GET /channels/{channel}/history`. `everywhere`: where there are other workers."""
    router = make_router(broadcaster.tally.reject)
    _add_channels(router, broadcaster.inspect, access, answers, everywhere)
    _add_history(router, broadcaster, access, answers)
    return router


def _add_channels(
    router: APIRouter, inspect: Inspector, access: Access, answers: LongAnswers, everywhere: AllChannels | None
) -> None:
    async def channels(
        prefix: Annotated[str, Query(description="Beginning of the names.")] = "",
        limit: Limit = 1000,
        scope: Scope = "all",
    ) -> Response:
        """Lists the open channels: those that have, or lately had, clients or publications."""
        if everywhere is not None and scope == "all":
            return answers.json(await everywhere.channels(prefix=prefix, limit=limit))
        async with answers.making:
            names, total = await inspect.channel_names(prefix=prefix, limit=limit)
        return answers.json(_list_channels(inspect, names, total))

    model = Channels if everywhere is None else everywhere.channels_model
    router.add_api_route(
        "/channels",
        channels,
        dependencies=list_guards(access),
        responses={200: {"model": model}, **errors(*_NO_LIST)},
    )


async def _list_channels(inspect: Inspector, names: list[str], total: int) -> AsyncGenerator[bytes, None]:
    """Yields the JSON of a `Channels`. A channel that was closed meanwhile is left out."""
    yield b'{"channels":['
    turn, comma = SharedTurn(), b""
    for name in names:
        channel = inspect.channel(name)
        if channel is not None:
            yield comma + orjson.dumps(channel_info(channel))
            comma = b","
        await turn.give_way()
    yield b'],"total":%d}' % total


def _add_history(router: APIRouter, broadcaster: Node, access: Access, answers: LongAnswers) -> None:
    inspect = broadcaster.inspect

    async def history(
        request: Request,
        channel: ChannelPath,
        since: Annotated[int | None, Query(ge=0, description="Offset after which publications are listed.")] = None,
        epoch: Annotated[str | None, Query(description="Epoch of `since`; by default the present one.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Largest number of publications.")] = 100,
    ) -> Response:
        """Lists the publications that a channel's log retains, the oldest first. `since` continues a list."""
        check_channel_name(channel)
        rights = await access.rights(request)
        if rights is not None:
            await rights.check_all(channel, Action.HISTORY)
            note_end(request, rights)
        if broadcaster.shares and (inspect.channel(channel) or await broadcaster.sharing.is_published(channel)):
            await _open(broadcaster, channel, epoch, since or 0)
        here = inspect.channel(channel)
        if here is None or (broadcaster.shares and not here.head and not here.clients):
            raise CodedError(
                ErrorCode.NO_CHANNEL, f"there is no channel {channel!r}: nothing was published to it lately"
            )
        asked = None if since is None and epoch is None else Position(epoch or here.epoch, since or 0)
        return answers.json(_read_history(inspect, here, since=asked, limit=limit))

    router.add_api_route(
        "/channels/{channel:path}/history",
        history,
        dependencies=[site_guard(access)],
        responses={200: {"model": History}, **errors(*_NO_HISTORY)},
    )


async def _open(broadcaster: Node, channel: str, epoch: str | None, since: int) -> None:
    """Has the log taken over what the engine has after a position; without an epoch, in the present one."""
    await broadcaster.sharing.ready(channel, None if epoch is None else Position(epoch, since))
    here = broadcaster.inspect.channel(channel)
    if epoch is None and here is not None:
        await broadcaster.sharing.ready(channel, Position(here.epoch, since))


async def _read_history(
    inspect: Inspector, here: ChannelStatistics, *, since: Position | None, limit: int
) -> AsyncGenerator[bytes, None]:
    """Yields the JSON of a `History`, and reads the log a few publications at a time.

    The messages end early if the log has let go of the next one meanwhile: the peer asks for more, and gets the gap.
    """
    yield orjson.dumps({"channel": here.name, "epoch": here.epoch, "head": here.head})[:-1] + b',"messages":['
    turn, gap, sent = SharedTurn(), None, 0
    while sent < limit:
        found = inspect.history(here.name, since=since, limit=min(_READ_AT_ONCE, limit - sent))
        if found is None or found.epoch != here.epoch or (sent and found.gap):
            break
        gap = gap or found.gap
        publications = [one for one in found.publications if one.offset <= here.head]
        for publication in publications:
            yield (b"," if sent else b"") + orjson.dumps(message_fields(publication))
            sent += 1
        if not publications:
            break
        since = publications[-1].position
        await turn.give_way()
    told = gap and {"from": gap.first, "to": gap.last, "reason": gap.reason.value}
    yield b'],"gap":%b}' % orjson.dumps(told)
