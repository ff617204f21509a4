"""`GET /channels/{channel}/presence`: who is on a channel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from ..broadcaster.node import Node
from ..core.codes import ErrorCode
from ..core.publication import check_channel_name
from ..core.rights import Action
from .auth.guards import REFUSED_WITH_KEY, Access, site_guard
from .json_models import Channel, PresentUser, Users
from .presence_json import MOST_MEMBERS, presence_json
from .problems import errors, make_router
from .publish import ChannelPath


class ChannelPresence(BaseModel):
    """The users on a channel, of all workers behind a backplane. There need not be such a channel."""

    channel: Channel
    clients: Annotated[int, Field(description="connections, with a known user or without")]
    users: Users
    members: list[PresentUser]
    truncated: Annotated[bool, Field(description="`members` lacks some, or a worker has not answered")]


def presence_routes(broadcaster: Node, access: Access) -> APIRouter:
    """`GET /channels/{channel}/presence`."""
    router = make_router(broadcaster.tally.reject)

    async def presence(
        request: Request,
        channel: ChannelPath,
        limit: Annotated[int, Query(ge=0, le=MOST_MEMBERS, description="Largest number of users.")] = MOST_MEMBERS,
    ) -> Response:
        """Lists the users on a channel, each once, in at most 64 KiB, and counts its connections."""
        check_channel_name(channel)
        rights = await access.rights(request)
        if rights is not None:
            await rights.check_all(channel, Action.PRESENCE)
        found = await broadcaster.presence(channel, limit=limit)
        return Response(await presence_json(found), media_type="application/json")

    refusals = (*REFUSED_WITH_KEY, ErrorCode.BAD_CHANNEL, ErrorCode.BAD_REQUEST)
    router.add_api_route(
        "/channels/{channel:path}/presence",
        presence,
        dependencies=[site_guard(access)],
        responses={200: {"model": ChannelPresence}, **errors(*refusals)},
    )
    return router
