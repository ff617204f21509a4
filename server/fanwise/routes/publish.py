"""Publishing over HTTP: one payload, or a batch in which each entry succeeds or fails by itself."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from ..broadcaster.node import Node
from ..broadcaster.turns import SharedTurn
from ..core.codes import CodedError, ErrorCode, code_of
from ..core.encoding import json_bytes
from ..core.publication import Kind
from ..core.rights import Action, Rights
from ..errors import FanwiseError
from ..transport.limits import budget_of
from ..transport.places import place_of
from .auth.guards import REFUSED_WITH_KEY, Access, key_guards
from .batch import MAX_ENTRIES, read_entries
from .bodies import body_data, read_body
from .idempotency import Idempotency, IdempotencyError
from .json_models import (
    LARGE_BYTES,
    MAX_CHARACTERS,
    Base64,
    Channel,
    Data,
    Epoch,
    Key,
    Offset,
    Strict,
    parse_seconds,
    unknown_name,
)
from .json_session import data_bytes
from .problems import Problem, errors, json_response, make_router

_NAMED_CHARACTERS: Final = 64  # of a field's name, in the text of an error
_BATCH_MESSAGES: Final = 16  # largest batch, in messages of the largest size
HELD_SECONDS: Final = 10.0  # for which a request waits for its rates, and then a batch for the readers of its channels


class Published(BaseModel):
    """The position of a publication, as subscribers see it."""

    channel: Channel
    epoch: Epoch
    offset: Offset


class Entry(Strict):
    """One publication of a batch."""

    channel: Channel
    data: Data
    key: Key | None = None
    encoding: Base64 | None = None


class Failed(BaseModel):
    """An entry that was not published."""

    error: Problem


class BatchAnswer(BaseModel):
    """One result for each entry, in order."""

    results: list[Published | Failed]


IdempotencyKey = Annotated[
    str | None,
    Header(
        description="A request that is sent again within five minutes publishes nothing and gets its first answer.",
        min_length=1,
        max_length=MAX_CHARACTERS,
        examples=["5f1c6e0a"],
    ),
]
KeyQuery = Annotated[
    str | None, Query(description="The state of which the payload is the newest value.", max_length=MAX_CHARACTERS)
]
ChannelPath = Annotated[str, Path(description="1 to 255 characters of A-Z a-z 0-9 . _ : / -", examples=["lobby"])]
_ANYTHING: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ONE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The payload: JSON, text (also without a content type), or else binary.",
        "content": {
            "text/plain": {"schema": {"type": "string"}, "example": "hello"},
            "application/json": {"schema": {}, "example": {"hello": "world"}},
            "application/octet-stream": _ANYTHING,
        },
    }
}
_BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "array", "items": Entry.model_json_schema(), "maxItems": MAX_ENTRIES},
                "example": [{"channel": "lobby", "data": "hello"}, {"channel": "news", "data": {"id": 7}, "key": "7"}],
            }
        },
    }
}
_HELD: Final = (
    f"not published: readers do not keep up, and the entries before this one have taken {HELD_SECONDS:g} s; "
    "send it again later, with an Idempotency-Key of its own"
)
_REFUSED: Final = (
    *REFUSED_WITH_KEY,
    ErrorCode.BAD_CHANNEL,
    ErrorCode.BAD_JSON,
    ErrorCode.BAD_REQUEST,
    ErrorCode.BAD_TEXT,
    ErrorCode.FORBIDDEN,
    ErrorCode.IDEMPOTENCY_KEY_REUSED,
    ErrorCode.INCOMPLETE_BODY,
    ErrorCode.PUBLISHES_TOO_FAST,
    ErrorCode.TOO_BIG,
    ErrorCode.TOO_MANY_CHANNELS,
)


class PublishEndpoint:
    """Publishes the bodies of requests, as far as `access` lets their users."""

    def __init__(self, broadcaster: Node, access: Access) -> None:
        self._broadcaster = broadcaster
        self._access = access
        self._done = Idempotency()

    async def one(self, request: Request, channel: str, key: str | None, idempotency_key: str | None) -> bytes:
        """Publishes the body of a request; returns the body of its answer."""
        rights = await self._access.rights(request) if self._access.asks else None
        if rights is not None:
            await rights.check_all(channel, Action.PUBLISH)
        body = await read_body(request, limit_bytes=self._broadcaster.max_message_bytes)
        if len(body) > LARGE_BYTES:
            await SharedTurn().give_way(parse_seconds(len(body)))
        kind, data = body_data(body, request.headers.get("content-type", ""))
        await pace(request, 1)

        async def act() -> bytes:
            return json_bytes(await self._append(channel, kind, data, key))

        return await self._once(request, body, idempotency_key, act, rights)

    async def batch(self, request: Request, idempotency_key: str | None) -> bytes:
        """Publishes each entry of a batch; returns the body of the answer."""
        rights = await self._access.rights(request) if self._access.asks else None
        body = await read_body(request, limit_bytes=_BATCH_MESSAGES * self._broadcaster.max_message_bytes)
        entries = await read_entries(body, max_bytes=self._broadcaster.max_message_bytes)
        await pace(request, len(entries))

        async def act() -> bytes:
            results, turn = [], SharedTurn()
            ends_at = time.monotonic() + HELD_SECONDS
            for entry in entries:
                await turn.give_way()
                late = time.monotonic() > ends_at
                held = self._failed(ErrorCode.READERS_BEHIND, _HELD) if late else None
                results.append(held or await self._entry(entry, rights))
            return json_bytes({"results": results})

        return await self._once(request, body, idempotency_key, act, rights)

    async def _once(
        self,
        request: Request,
        body: bytes,
        key: str | None,
        act: Callable[[], Coroutine[Any, Any, bytes]],
        rights: Rights | None,
    ) -> bytes:
        if key is None:
            return await act()
        user = rights.user.id if rights is not None and rights.user is not None else ""
        parts = (request.url.path, request.url.query, request.headers.get("content-type", ""), user)
        asked = b"\0".join([part.encode() for part in parts])
        try:
            return await self._done.once(key, asked + b"\0" + body, act)
        except IdempotencyError as error:
            raise CodedError(ErrorCode.IDEMPOTENCY_KEY_REUSED, str(error)) from error

    async def _append(self, channel: str, kind: Kind, data: bytes, key: str | None) -> dict[str, object]:
        publication = await self._broadcaster.append(channel, kind, data, key=key)
        return {"channel": channel, "epoch": publication.epoch, "offset": publication.offset}

    async def _entry(self, fields: Any, rights: Rights | None) -> dict[str, object]:
        try:
            if isinstance(fields, dict) and len(fields) > len(Entry.model_fields):
                return self._failed(ErrorCode.BAD_ENTRY, f"{unknown_name(fields, Entry)}: unknown")
            entry = Entry.model_validate(fields)
            if rights is not None:
                await rights.check_all(entry.channel, Action.PUBLISH)
            return await self._append(entry.channel, *data_bytes(entry.data, entry.encoding), entry.key)
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            place = ".".join(map(str, detail["loc"]))[:_NAMED_CHARACTERS] or "entry"
            return self._failed(ErrorCode.BAD_ENTRY, f"{place}: {detail['msg']}")
        except FanwiseError as error:
            code = code_of(error)
            if code is None:
                raise
            return self._failed(code, str(error))

    def _failed(self, code: ErrorCode, message: str) -> dict[str, object]:
        self._broadcaster.tally.reject(code)
        return {"error": {"code": code.value, "message": message}}


async def pace(request: Request, count: int) -> None:
    """Counts publications of a request, and waits until its connection and its address are within their rates.

    Waits for `HELD_SECONDS` at most. What was not waited for is a debt of the next request.

    Raises:
        CodedError: The debt before this request takes longer than that; nothing was counted.
    """
    budget, place = budget_of(request.scope), place_of(request.scope)
    debt = max(budget.publish(0), place.publish(0) if place is not None else 0.0)
    if debt > HELD_SECONDS:
        problem = f"the connection or its address publishes too much per second: come back in {math.ceil(debt)} seconds"
        raise CodedError(ErrorCode.PUBLISHES_TOO_FAST, problem)
    seconds = max(budget.publish(count), place.publish(count) if place is not None else 0.0)
    if seconds:
        await asyncio.sleep(min(seconds, HELD_SECONDS))


def publishing_routes(broadcaster: Node, access: Access) -> APIRouter:
    """`POST /publish/{channel}` and `POST /publish`."""
    router, endpoint = make_router(broadcaster.tally.reject), PublishEndpoint(broadcaster, access)
    guards = key_guards(access)

    async def publish(
        request: Request, channel: ChannelPath, key: KeyQuery = None, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Publishes the body to a channel. The answer's position is what subscribers see."""
        return json_response(await endpoint.one(request, channel, key, idempotency_key))

    async def publish_batch(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
        """Publishes several payloads, in order; each succeeds or fails by itself."""
        return json_response(await endpoint.batch(request, idempotency_key))

    router.add_api_route(
        "/publish/{channel:path}",
        publish,
        methods=["POST"],
        dependencies=guards,
        responses={200: {"model": Published}, **errors(*_REFUSED)},
        openapi_extra=_ONE_BODY,
    )
    router.add_api_route(
        "/publish",
        publish_batch,
        methods=["POST"],
        dependencies=guards,
        responses={200: {"model": BatchAnswer}, **errors(*_REFUSED)},
        openapi_extra=_BATCH_BODY,
    )
    return router
