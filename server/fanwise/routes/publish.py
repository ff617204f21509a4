"""Publishing over HTTP: one payload, or a batch in which each entry succeeds or fails by itself."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from functools import partial
from hashlib import blake2b
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from ..backplane.port import Once
from ..broadcaster.node import Node
from ..broadcaster.turns import SharedTurn
from ..core.codes import CodedError, ErrorCode, code_of
from ..core.encoding import json_bytes
from ..core.filters import Tags, one_each, read_tags
from ..core.publication import Kind
from ..core.rights import Action, Rights
from ..errors import FanwiseError
from ..transport.limits import budget_of
from ..transport.places import place_of
from .auth.guards import REFUSED_WITH_KEY, Access, publisher_guards
from .batch import MAX_ENTRIES, Entry, read_entries, read_entry
from .bodies import body_data, read_body
from .channel_rules import ChannelRules
from .idempotency import Idempotency
from .json_models import MAX_CHARACTERS, Channel, Epoch, Offset
from .json_session import data_bytes
from .json_size import LARGE_BYTES, parse_seconds
from .problems import Problem, errors, json_response, make_router

_IN_A_TURN: Final = 16  # entries that are handed to the engine in one turn of the loop
_BATCH_MESSAGES: Final = 16  # largest batch, in messages of the largest size
HELD_SECONDS: Final = 10.0  # for which a request waits for its rates, and then a batch for the readers of its channels


class Published(BaseModel):
    """The position of a publication, as subscribers see it."""

    channel: Channel
    epoch: Epoch
    offset: Offset


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
# Described here and read from the request: FastAPI takes a tenth of a request for a parameter that may be repeated.
_TAG_PARAMETER: dict[str, Any] = {
    "name": "tag",
    "in": "query",
    "description": "What the payload is about, `tag:value`, for the filters of clients. May be repeated: 8 at most.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
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
    ErrorCode.BACKPLANE_DOWN,
    ErrorCode.BAD_CHANNEL,
    ErrorCode.BAD_JSON,
    ErrorCode.BAD_REQUEST,
    ErrorCode.BAD_TAGS,
    ErrorCode.BAD_TEXT,
    ErrorCode.IDEMPOTENCY_KEY_REUSED,
    ErrorCode.INCOMPLETE_BODY,
    ErrorCode.NO_CHANNEL,
    ErrorCode.PUBLISHES_TOO_FAST,
    ErrorCode.TOO_BIG,
    ErrorCode.TOO_MANY_CHANNELS,
    ErrorCode.UNCONFIRMED,
)


class Asked(NamedTuple):
    """A request with an Idempotency-Key.

    Attributes:
        key: The header's value, behind the user.
        content: All by which the request differs from others.
    """

    key: str
    content: bytes

    def once(self, channel: str, place: int) -> Once:
        """Returns how the engine knows the publication in that place of the request again."""
        named = f"{channel}\0{place}\0{self.key}".encode(errors="surrogatepass")
        digests = (blake2b(text, digest_size=16).hexdigest() for text in (named, self.content))
        return Once(*digests)


class PublishEndpoint:
    """Publishes the bodies of requests, as far as `access` lets their users."""

    def __init__(self, broadcaster: Node, access: Access) -> None:
        self._broadcaster = broadcaster
        self._access = access
        self._done = Idempotency()
        self._rules = ChannelRules(broadcaster)

    async def one(
        self, request: Request, channel: str, key: str | None, tags: Tags | None, idempotency_key: str | None
    ) -> bytes:
        """Publishes the body of a request; returns the body of its answer."""
        rights = await self._access.rights(request) if self._access.asks else None
        if rights is not None:
            await rights.check_all(channel, Action.PUBLISH)
        if not self._rules.open:
            await self._rules.check_to_publish(channel, operator=self._access.is_operator(request, rights))
        body = await read_body(request, limit_bytes=self._broadcaster.max_message_bytes)
        if len(body) > LARGE_BYTES:
            await SharedTurn().give_way(parse_seconds(len(body)))
        kind, data = body_data(body, request.headers.get("content-type", ""))
        await pace(request, 1)

        async def act(asked: Asked | None) -> bytes:
            return json_bytes(await self._append(channel, kind, data, key, tags, asked))

        return await self._once(request, body, idempotency_key, act, rights)

    async def batch(self, request: Request, idempotency_key: str | None) -> bytes:
        """Publishes each entry of a batch; returns the body of the answer."""
        rights = await self._access.rights(request) if self._access.asks else None
        rights = self._rules.add_to(rights, operator=self._access.is_operator(request, rights), paced=False)
        body = await read_body(request, limit_bytes=_BATCH_MESSAGES * self._broadcaster.max_message_bytes)
        entries = await read_entries(body, max_bytes=self._broadcaster.max_message_bytes)
        await pace(request, len(entries))

        async def act(asked: Asked | None) -> bytes:
            return json_bytes({"results": await self._results(entries, rights, asked)})

        return await self._once(request, body, idempotency_key, act, rights)

    async def _results(
        self, entries: list[Any], rights: Rights | None, _asked: Asked | None
    ) -> list[dict[str, object]]:
        results, turn = [], SharedTurn()
        ends_at = time.monotonic() + HELD_SECONDS
        for entry in entries:
            await turn.give_way()
            late = time.monotonic() > ends_at
            held = self._failed(ErrorCode.READERS_BEHIND, _HELD) if late else None
            results.append(held or await self._entry(entry, rights))
        return results

    async def _once(
        self,
        request: Request,
        body: bytes,
        key: str | None,
        act: Callable[[Asked | None], Coroutine[Any, Any, bytes]],
        rights: Rights | None,
    ) -> bytes:
        if key is None:
            return await act(None)
        user = rights.user.id if rights is not None and rights.user is not None else ""
        parts = (request.url.path, request.url.query, request.headers.get("content-type", ""))
        content = b"\0".join([*(part.encode() for part in parts), body])
        asked = Asked(f"{user}\0{key}", content)  # what one user has asked for is no other user's matter
        return await self._done.once(asked.key, content, partial(act, asked))

    async def _append(
        self,
        channel: str,
        kind: Kind,
        data: bytes,
        key: str | None,
        tags: Tags | None,
        _asked: Asked | None,
        _place: int = 0,
    ) -> dict[str, object]:
        publication = await self._broadcaster.append(channel, kind, data, key=key, tags=tags)
        return {"channel": channel, "epoch": publication.epoch, "offset": publication.offset}

    async def _entry(
        self, fields: Any, rights: Rights | None, asked: Asked | None = None, place: int = 0
    ) -> dict[str, object]:
        try:
            entry = read_entry(fields)
            if rights is not None:
                await rights.check_all(entry.channel, Action.PUBLISH)
            kind, data = data_bytes(entry.data, entry.encoding)
            return await self._append(entry.channel, kind, data, entry.key, entry.tags, asked, place)
        except FanwiseError as error:
            return self._refused(error)

    def _refused(self, error: FanwiseError) -> dict[str, object]:
        """Counts a refusal of an entry, and returns its result; raises an error that is not the peer's mistake."""
        code = code_of(error)
        if code is None:
            raise error
        return self._failed(code, str(error))

    def _failed(self, code: ErrorCode, message: str) -> dict[str, object]:
        self._broadcaster.tally.reject(code)
        return {"error": {"code": code.value, "message": message}}


class _PartlyDoneError(Exception):
    """Some entries of a batch may be published when the batch is sent again."""

    def __init__(self, results: list[dict[str, object]]) -> None:
        super().__init__(results)
        self.results = results


class SharedPublishEndpoint(PublishEndpoint):
    """Publishes the bodies of requests behind a backplane: a request that is sent to another server is known there."""

    async def batch(self, request: Request, idempotency_key: str | None) -> bytes:
        """Hands all entries of a batch to the engine, and then waits for them; returns the body of the answer."""
        try:
            return await super().batch(request, idempotency_key)
        except _PartlyDoneError as partly:  # the table of answers has not kept this one
            return json_bytes({"results": partly.results})

    async def _results(self, entries: list[Any], rights: Rights | None, asked: Asked | None) -> list[dict[str, object]]:
        found: list[dict[str, object] | asyncio.Task[dict[str, object]]] = []
        ends_at = time.monotonic() + HELD_SECONDS
        for place, entry in enumerate(entries):
            refusal = None if rights is None else await self._refusal(entry, rights, ends_at)
            found.append(refusal or asyncio.create_task(self._entry(entry, None, asked, place)))
            if not len(found) % _IN_A_TURN:
                await asyncio.sleep(0)
        await asyncio.gather(*(one for one in found if isinstance(one, asyncio.Task)))
        results = [one.result() if isinstance(one, asyncio.Task) else one for one in found]
        if any(_may_be_done_later(result) for result in results):
            raise _PartlyDoneError(results)
        return results

    async def _refusal(self, fields: Any, rights: Rights, ends_at: float) -> dict[str, object] | None:
        """Asks for the rights of an entry before the next one, as entries are handed in in their order."""
        if time.monotonic() > ends_at:
            return self._failed(ErrorCode.READERS_BEHIND, _HELD)
        try:
            await rights.check_all(read_entry(fields).channel, Action.PUBLISH)
        except FanwiseError as error:
            return self._refused(error)
        return None

    async def _append(
        self,
        channel: str,
        kind: Kind,
        data: bytes,
        key: str | None,
        tags: Tags | None,
        asked: Asked | None,
        place: int = 0,
    ) -> dict[str, object]:
        once = None if asked is None else asked.once(channel, place)
        epoch, offset = await self._broadcaster.sharing.submitter.submit(channel, kind, data, key, once, tags=tags)
        return {"channel": channel, "epoch": epoch, "offset": offset}


def _may_be_done_later(result: dict[str, object]) -> bool:
    error = result.get("error")
    return isinstance(error, dict) and error["code"] in (ErrorCode.BACKPLANE_DOWN, ErrorCode.UNCONFIRMED)


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
    router = make_router(broadcaster.tally.reject)
    endpoint = (SharedPublishEndpoint if broadcaster.shares else PublishEndpoint)(broadcaster, access)
    guards = publisher_guards(access)
    one, batch = endpoint.one, endpoint.batch
    if (spans := broadcaster.recordings.spans) is not None:
        from .tracing import in_span  # noqa: PLC0415 - an extra

        one, batch = in_span(spans, "/publish/{channel}", one), in_span(spans, "/publish", batch)

    async def publish(
        request: Request, channel: ChannelPath, key: KeyQuery = None, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Publishes the body to a channel. The answer's position is what subscribers see."""
        tags = one_each(read_tags(request.query_params.getlist("tag"))) if request.scope["query_string"] else None
        return json_response(await one(request, channel, key, tags, idempotency_key))

    async def publish_batch(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
        """Publishes several payloads, in order; each succeeds or fails by itself."""
        return json_response(await batch(request, idempotency_key))

    router.add_api_route(
        "/publish/{channel:path}",
        publish,
        methods=["POST"],
        dependencies=guards,
        responses={200: {"model": Published}, **errors(*_REFUSED)},
        openapi_extra={**_ONE_BODY, "parameters": [_TAG_PARAMETER]},
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
