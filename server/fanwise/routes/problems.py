"""Errors with a code, over HTTP and in handshakes: counted, logged and answered in one form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ..core.codes import CodedError, ErrorCode, close_of, code_of
from ..errors import FanwiseError, GoneError
from ..logs.events import Event, log
from ..transport.addresses import peer_name
from ..transport.connect import close_if_open

# FastAPI builds a validator for each `model` of an answer, which takes most of the time in which an application starts.
_ERROR_CONTENT: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/FanwiseErrorBody"}}}
_PROBLEMS: Final = 8  # of one request that are listed
_NAMED_CHARACTERS: Final = 64  # of the place of each
_NO_ROOM: Final = {ErrorCode.FULL, ErrorCode.TOO_MANY_CHANNELS}  # for an operator to see to


class Problem(BaseModel):
    """What is wrong, and what is allowed."""

    code: Annotated[ErrorCode, Field(description="stable", examples=["bad_channel"])]
    message: Annotated[str, Field(description="for people")]


class FanwiseErrorBody(BaseModel):
    """The body of each answer that is an error."""

    error: Problem


def error_response(code: ErrorCode, problem: str) -> Response:
    """Returns the answer to a request that is refused."""
    body = FanwiseErrorBody(error=Problem(code=code, message=problem))
    return JSONResponse(body.model_dump(mode="json"), code.status or HTTPStatus.BAD_REQUEST, dict(code.headers))


def note_refusal(connection: HTTPConnection, error: FanwiseError, count: Callable[[ErrorCode], None]) -> ErrorCode:
    """Counts and logs that `connection` is refused because of `error`; returns the code.

    Raises:
        FanwiseError: `error` itself, if it has no HTTP answer: the mistake is not the peer's.
    """
    code = code_of(error)
    if code is None or code.status is None:
        raise error
    count(code)
    _log_refusal(connection, code, error)
    return code


def _log_refusal(connection: HTTPConnection, code: ErrorCode, error: FanwiseError) -> None:
    """Logs a refusal without its text, which may quote what the peer sent: keys among it.

    The text of a refused page stands in the log: browsers show it to nobody.
    """
    if code.status == HTTPStatus.NOT_FOUND:  # an answer, and no refusal
        return
    log(
        Event.NO_ROOM if code in _NO_ROOM else Event.REFUSED,
        path=quote(connection.scope["path"], safe="/:"),
        address=peer_name(connection),
        reason=f"{code.value}: {error}" if code is ErrorCode.BAD_ORIGIN else code.value,
    )


class FanwiseRoute(APIRoute):
    """A route that answers errors as a `FanwiseErrorBody`, in any application that includes it.

    Attributes:
        reject: Called with the code of each error.
    """

    reject: ClassVar[Callable[[ErrorCode], None]] = lambda _: None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns FastAPI's own handler, wrapped."""
        handler: Callable[[Request], Awaitable[Response]] = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                _check_path(request)
                return await handler(request)
            except FanwiseError as error:  # kept under no other name: its traceback holds this frame, and both the body
                return answer(request, error)
            except RequestValidationError as error:
                details = error.with_traceback(None).errors()  # FastAPI's frame keeps the error, and holds the request
                problems = list_problems(details, places_above=1)
                return answer(request, CodedError(ErrorCode.BAD_REQUEST, problems))

        def answer(request: Request, refusal: FanwiseError) -> Response:
            return error_response(note_refusal(request, refusal, type(self).reject), str(refusal))

        return handle


def list_problems(details: Sequence[Any], *, places_above: int = 0) -> str:
    """Returns the text of a validation's errors, eight at most: "limit: Input should be at least 1; epoch: ...".

    Args:
        details: The errors, as pydantic lists them.
        places_above: Steps of each place that a peer does not see, such as "query".
    """
    problems = []
    for detail in details[:_PROBLEMS]:
        place = ".".join(map(str, detail["loc"][places_above:]))[:_NAMED_CHARACTERS]
        problems.append(f"{place or 'the body'}: {detail['msg']}")
    return "; ".join(problems)


def _check_path(request: Request) -> None:
    """Raises CodedError for a path that ends with a line break: Starlette's patterns match without it."""
    if request.scope["path"].endswith("\n"):
        raise CodedError(ErrorCode.BAD_REQUEST, "the path ends with a line break (%0a), which no name contains")


def errors(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """Returns the answers with `codes` as OpenAPI has them: one description for each status."""
    texts: dict[int | str, list[str]] = {}  # {status: one line for each code}
    for code in codes:
        if code.status is None:
            raise AssertionError(f"{code} is no answer over HTTP")
        texts.setdefault(code.status, []).append(f"`{code}`: {code.text}")
    any_other = {"4XX": {"model": FanwiseErrorBody, "description": "Any other mistake of the request."}}
    return {
        status: {"content": _ERROR_CONTENT, "description": "\n\n".join(lines)} for status, lines in texts.items()
    } | any_other


def make_router(reject: Callable[[ErrorCode], None]) -> APIRouter:
    """Returns a router that answers errors as a `FanwiseErrorBody`; `reject` is called with the code of each."""
    route_class = type("Route", (FanwiseRoute,), {"reject": staticmethod(reject)})
    return APIRouter(route_class=route_class, tags=["Fanwise"])


def json_response(body: bytes) -> Response:
    """Returns an answer of a body that is JSON already; tests compare such bodies with their models."""
    return Response(body, media_type="application/json")


def handle_errors(app: object, reject: Callable[[ErrorCode], None]) -> None:
    """Has an application that has started answer our errors from its own endpoints, unless it handles them itself.

    Args:
        app: A Starlette or FastAPI application; all else is left alone.
        reject: Called with the code of each error.
    """
    layer = getattr(app, "middleware_stack", None)
    while layer is not None and not isinstance(layer, ExceptionMiddleware):
        layer = getattr(layer, "app", None)
    if layer is not None and FanwiseError not in getattr(app, "exception_handlers", {}):
        layer.add_exception_handler(FanwiseError, _error_handler(reject))


def answer_errors(scope: Scope, reject: Callable[[ErrorCode], None]) -> None:
    """Has the application that `scope` comes from answer our errors, as `handle_errors` does.

    An application that starts the broadcaster by itself is met here only.
    """
    handlers, _ = scope.get("starlette.exception_handlers", ({FanwiseError: None}, None))
    if FanwiseError not in handlers:
        handlers[FanwiseError] = _error_handler(reject)


def _error_handler(reject: Callable[[ErrorCode], None]) -> Any:
    async def handle(connection: HTTPConnection, error: FanwiseError) -> Response | None:
        if isinstance(connection, WebSocket):
            await _end(connection, error, reject)
            return None
        return error_response(note_refusal(connection, error, reject), str(error))

    return handle


async def _end(websocket: WebSocket, error: FanwiseError, reject: Callable[[ErrorCode], None]) -> None:
    """Refuses or closes a WebSocket whose endpoint has raised `error`; raises that if the mistake is not the peer's."""
    if isinstance(error, GoneError):  # the peer has left while the endpoint was at work
        return
    close = close_of(error)
    if close is None:
        raise error
    code, reason, text = close
    reject(code)
    _log_refusal(websocket, code, error)
    await refuse(websocket, code.status or HTTPStatus.BAD_REQUEST, str(error), headers=code.headers)
    await close_if_open(websocket, reason.code, text)


async def turn_away(websocket: WebSocket, error: FanwiseError, reject: Callable[[ErrorCode], None]) -> None:
    """Refuses a handshake because of `error`: counts with `reject`, logs, and answers."""
    code = note_refusal(websocket, error, reject)
    await refuse(websocket, code.status or HTTPStatus.BAD_REQUEST, str(error), headers=code.headers)


async def refuse(websocket: WebSocket, status: int, text: str, *, headers: Mapping[str, str] | None = None) -> None:
    """Answers a handshake with an HTTP error (ASGI's denial response), or closes it where the server has none."""
    if websocket.application_state is not WebSocketState.CONNECTING:
        return
    with suppress(WebSocketDisconnect, OSError):  # the peer has left, or the server stops
        if "websocket.http.response" in websocket.scope.get("extensions", {}):
            await websocket.send_denial_response(PlainTextResponse(f"{text}\n", status, headers))
        else:
            await websocket.close()
