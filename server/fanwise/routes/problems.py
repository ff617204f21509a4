"""What all HTTP routes share: errors with a code, and what a request has to bring along."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
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
from starlette.websockets import WebSocket, WebSocketState

from ..errors import (
    ChannelLimitError,
    ChannelNameError,
    DrainingError,
    FanwiseError,
    FullError,
    MessageTooBigError,
    PositionError,
)
from ..logs.events import Event, log
from .auth.access import Access

COME_BACK: Final = {"Retry-After": "5"}  # seconds: about what draining takes, and a start
_NO_ROOM: Final = {"full", "too_many_channels"}  # for an operator to see to; other errors are the asker's
_NOT_THERE: Final = {"no_channel", "no_client"}  # an answer like another, and no refusal


class Problem(BaseModel):
    """What is wrong, and what is allowed."""

    code: Annotated[str, Field(description="stable", examples=["bad_channel"])]
    message: Annotated[str, Field(description="for people")]


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: Problem


class ApiError(FanwiseError):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, problem: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, code, problem)
        self.status = status
        self.code = code
        self.problem = problem
        self.headers = headers

    def __str__(self) -> str:
        return self.problem

    def response(self) -> Response:
        """The answer itself."""
        body = ErrorBody(error=Problem(code=self.code, message=self.problem))
        return JSONResponse(body.model_dump(), self.status, self.headers)


def translate(error: FanwiseError) -> ApiError:
    """The answer to a request that ended in one of our own errors; `error` again if there is no better answer."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ChannelNameError):
        return ApiError(400, "bad_channel", str(error))
    if isinstance(error, PositionError):
        return ApiError(400, "bad_position", str(error))
    if isinstance(error, MessageTooBigError):
        return ApiError(413, "too_big", str(error), {"Connection": "close"})
    if isinstance(error, ChannelLimitError):
        return ApiError(503, "too_many_channels", str(error), COME_BACK)
    if isinstance(error, DrainingError | FullError):
        return ApiError(503, "draining" if isinstance(error, DrainingError) else "full", str(error), COME_BACK)
    raise error


def log_refusal(connection: HTTPConnection, code: str) -> None:
    """Logs that `connection` is answered with an error."""
    if code in _NOT_THERE:
        return
    log(
        Event.NO_ROOM if code in _NO_ROOM else Event.REFUSED,
        path=quote(connection.scope["path"], safe="/:"),
        address=f"{connection.client.host}:{connection.client.port}" if connection.client else "",
        reason=code,
    )


class FanwiseRoute(APIRoute):
    """A route whose errors look like ours, whatever application it was included into.

    Attributes:
        reject: Called with the code of each error.
    """

    reject: ClassVar[Callable[[str], None]] = lambda _: None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps FastAPI's own handler."""
        handler: Callable[[Request], Awaitable[Response]] = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except FanwiseError as error:
                answer = translate(error)
            except RequestValidationError as error:
                problems = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
                answer = ApiError(400, "bad_request", "; ".join(problems))
            except HTTPException as error:  # a body that FastAPI could not read at all
                if error.status_code != HTTPStatus.BAD_REQUEST:
                    raise
                answer = ApiError(400, "bad_request", str(error.detail))
            type(self).reject(answer.code)
            log_refusal(request, answer.code)
            return answer.response()

        return handle


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the answers with these statuses."""
    texts = {
        400: "Something about the request is wrong; the message says what is allowed.",
        401: "The key is missing or another one.",
        403: "The page that the request comes from is of another host.",
        404: "There is no such thing.",
        413: "Too big; the rest was not read.",
        422: "The Idempotency-Key was used for another request.",
        503: "Not now: come back after `Retry-After` seconds.",
    }
    named: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": texts[status]} for status in statuses
    }
    return {**named, "4XX": {"model": ErrorBody, "description": "Any other mistake of the request."}}


def make_router(reject: Callable[[str], None]) -> APIRouter:
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
    """Raises ApiError if the page that the request, or the handshake, comes from is of another host."""
    if not access.allows_origin(connection):
        raise ApiError(403, "bad_origin", ORIGIN_REFUSED)


def origin_guard(access: Access) -> params.Depends:
    """A dependency: pages of other hosts are refused."""

    def check(request: Request) -> None:
        check_origin(request, access)

    return params.Depends(check)


def key_guards(access: Access) -> list[params.Depends]:
    """Dependencies: the page is of this host, and the request brings the key, if there is one."""

    def check(request: Request) -> None:
        if not access.holds_key(request):
            raise ApiError(401, "unauthorised", KEY_REFUSED, {"WWW-Authenticate": "Bearer"})

    schemes = [params.Security(scheme) for scheme in _KEY_SCHEMES]
    return [origin_guard(access), params.Depends(check), *schemes]


async def turn_away(websocket: WebSocket, error: FanwiseError, reject: Callable[[str], None]) -> None:
    """Refuses the handshake because of one of our own errors: counted with `reject`, logged, and told."""
    answer = translate(error)
    reject(answer.code)
    log_refusal(websocket, answer.code)
    await refuse(websocket, answer.status, str(error), headers=answer.headers)


async def refuse(websocket: WebSocket, status: int, text: str, *, headers: Mapping[str, str] | None = None) -> None:
    """Answers the handshake with an HTTP error (ASGI's denial response), or without one where the server cannot."""
    if websocket.application_state is not WebSocketState.CONNECTING:
        return
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(PlainTextResponse(f"{text}\n", status, headers))
    else:
        await websocket.close()
