"""What all HTTP routes share: errors with a code, and what a request has to bring along."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import quote

from fastapi import APIRouter, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ..core.codes import CodedError, ErrorCode, code_of
from ..errors import FanwiseError
from ..logs.events import Event, log
from .auth.access import Access

_NO_ROOM: Final = {ErrorCode.FULL, ErrorCode.TOO_MANY_CHANNELS}  # for an operator to see to
# What routes with a guard may answer.
REFUSED: Final = (ErrorCode.BAD_ORIGIN,)
REFUSED_WITH_KEY: Final = (*REFUSED, ErrorCode.UNAUTHORISED)


class Problem(BaseModel):
    """What is wrong, and what is allowed."""

    code: Annotated[ErrorCode, Field(description="stable", examples=["bad_channel"])]
    message: Annotated[str, Field(description="for people")]


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: Problem


def error_response(code: ErrorCode, problem: str) -> Response:
    """The answer to a request that is refused."""
    body = ErrorBody(error=Problem(code=code, message=problem))
    return JSONResponse(body.model_dump(mode="json"), code.status or HTTPStatus.BAD_REQUEST, dict(code.headers))


def note_refusal(connection: HTTPConnection, error: FanwiseError, count: Callable[[ErrorCode], None]) -> ErrorCode:
    """Counts and logs that `connection` is refused because of `error`; returns the code.

    Raises:
        FanwiseError: `error` itself, for which there is no HTTP answer: the mistake is not the peer's.
    """
    code = code_of(error)
    if code is None or code.status is None:
        raise error
    count(code)
    log_refusal(connection, code)
    return code


def log_refusal(connection: HTTPConnection, code: ErrorCode) -> None:
    """Logs that `connection` is answered with an error."""
    if code.status == HTTPStatus.NOT_FOUND:  # an answer like another, and no refusal
        return
    log(
        Event.NO_ROOM if code in _NO_ROOM else Event.REFUSED,
        path=quote(connection.scope["path"], safe="/:"),
        address=f"{connection.client.host}:{connection.client.port}" if connection.client else "",
        reason=code.value,
    )


class FanwiseRoute(APIRoute):
    """A route whose errors look like ours, whatever application it was included into.

    Attributes:
        reject: Called with the code of each error.
    """

    reject: ClassVar[Callable[[ErrorCode], None]] = lambda _: None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps FastAPI's own handler."""
        handler: Callable[[Request], Awaitable[Response]] = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except FanwiseError as error:
                refusal = error
            except RequestValidationError as error:
                problems = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
                refusal = CodedError(ErrorCode.BAD_REQUEST, "; ".join(problems))
            except HTTPException as error:  # a body that FastAPI could not read at all
                if error.status_code != HTTPStatus.BAD_REQUEST:
                    raise
                refusal = CodedError(ErrorCode.BAD_REQUEST, str(error.detail))
            code = note_refusal(request, refusal, type(self).reject)
            return error_response(code, str(refusal))

        return handle


def errors(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the answers with `codes`: one description for each status."""
    texts: dict[int | str, list[str]] = {}  # {status: one line for each code}
    for code in codes:
        if code.status is None:
            raise AssertionError(f"{code} is no answer over HTTP")
        texts.setdefault(code.status, []).append(f"`{code}`: {code.text}")
    texts["4XX"] = ["Any other mistake of the request."]
    return {status: {"model": ErrorBody, "description": "\n\n".join(lines)} for status, lines in texts.items()}


def make_router(reject: Callable[[ErrorCode], None]) -> APIRouter:
    """A router whose errors look like ours; `reject` is called with the code of each."""
    route_class = type("Route", (FanwiseRoute,), {"reject": staticmethod(reject)})
    return APIRouter(route_class=route_class, tags=["Fanwise"])


ORIGIN_REFUSED: Final = "pages of this origin may not connect: the server's FANWISE_ALLOWED_ORIGINS says which may"
KEY_REFUSED: Final = "this asks for the server's key: Authorization: Bearer KEY, or X-API-Key: KEY"
# What OpenAPI is told of the key; `Access` is who looks for it.
_KEY_SCHEMES: Final = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))


def json_response(body: bytes) -> Response:
    """An answer that is JSON already. The models describe it, and tests hold it to them."""
    return Response(body, media_type="application/json")


def check_origin(connection: HTTPConnection, access: Access) -> None:
    """Raises CodedError if the page that the request, or the handshake, comes from is of another host."""
    if not access.allows_origin(connection):
        raise CodedError(ErrorCode.BAD_ORIGIN, ORIGIN_REFUSED)


def origin_guard(access: Access) -> params.Depends:
    """A dependency: pages of other hosts are refused."""

    def check(request: Request) -> None:
        check_origin(request, access)

    return params.Depends(check)


def key_guards(access: Access) -> list[params.Depends]:
    """Dependencies: the page is of this host, and the request brings the key, if there is one."""

    def check(request: Request) -> None:
        if not access.holds_key(request):
            raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)

    schemes = [params.Security(scheme) for scheme in _KEY_SCHEMES]
    return [origin_guard(access), params.Depends(check), *schemes]


async def turn_away(websocket: WebSocket, error: FanwiseError, reject: Callable[[ErrorCode], None]) -> None:
    """Refuses the handshake because of one of our own errors: counts with `reject`, logs, and answers."""
    code = note_refusal(websocket, error, reject)
    await refuse(websocket, code.status or HTTPStatus.BAD_REQUEST, str(error), headers=code.headers)


async def refuse(websocket: WebSocket, status: int, text: str, *, headers: Mapping[str, str] | None = None) -> None:
    """Answers the handshake with an HTTP error (ASGI's denial response), or without one where the server cannot."""
    if websocket.application_state is not WebSocketState.CONNECTING:
        return
    with suppress(WebSocketDisconnect, OSError):  # the peer has left, or the server has: nobody waits for the answer
        if "websocket.http.response" in websocket.scope.get("extensions", {}):
            await websocket.send_denial_response(PlainTextResponse(f"{text}\n", status, headers))
        else:
            await websocket.close()
