"""`GET /trace`: what the server publishes and what its slow clients take, while that happens, as a file to replay."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from ..broadcaster.node import Node
from ..broadcaster.recorder import PENDING_BYTES, Recorder
from ..core.codes import ErrorCode
from .auth.guards import REFUSED_WITH_KEY, Access, ends_at, operator_guards
from .problems import errors, make_router

MOST_SECONDS: Final = 600.0
MOST_BYTES: Final = 67_108_864
_MEDIA_TYPE: Final = "application/octet-stream"

Duration = Annotated[float, Query(gt=0, le=MOST_SECONDS, description="Length of the trace.")]


def trace_routes(broadcaster: Node, access: Access, *, pong_seconds: float) -> APIRouter:
    """`GET /trace`. A trace also names `pong_seconds`, which the node does not know; infinite: unknown."""
    router = make_router(broadcaster.tally.reject)
    settings = {"pong_seconds": pong_seconds} if pong_seconds < math.inf else {}

    async def trace(request: Request, seconds: Duration = 60.0) -> Response:
        """Records for so many seconds and streams the trace meanwhile: publications without their content, and clients.

        A reader that does not keep up gets a shorter trace, and so does one whose token ends. At most 64 MiB.
        """
        left = ends_at(request.scope) - time.time()
        recorder = broadcaster.recordings.start(seconds=seconds, most_bytes=MOST_BYTES, settings=settings)
        if left < seconds:
            asyncio.get_running_loop().call_later(max(left, 0.0), recorder.end, "expired")
        return StreamingResponse(_stream(broadcaster, recorder), media_type=_MEDIA_TYPE)

    router.add_api_route(
        "/trace",
        trace,
        dependencies=operator_guards(access),
        response_class=Response,
        responses={
            200: {"content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
            **errors(*REFUSED_WITH_KEY, ErrorCode.BAD_REQUEST, ErrorCode.TOO_MANY_TRACES),
        },
    )
    return router


async def _stream(broadcaster: Node, recorder: Recorder) -> AsyncGenerator[bytes, None]:
    broadcaster.count_answer_bytes(PENDING_BYTES)
    try:
        while data := await recorder.read():
            yield data
    finally:
        recorder.end("left")
        broadcaster.count_answer_bytes(-PENDING_BYTES)
