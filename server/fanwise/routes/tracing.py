"""Spans of requests that publish, and the trace context that they and messages of the JSON dialect bring.

Imported where there is tracing, and only there: it imports OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, TypeAlias

from opentelemetry.context import attach, detach
from opentelemetry.propagate import extract
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span
from starlette.requests import Request

from ..broadcaster.tracing.spans import ERROR_TYPE, Spans
from ..core.codes import code_of
from ..errors import FanwiseError
from .json_models import Publish, UsualPublish
from .json_session import JsonSession, SharedJsonSession

# https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
PATH: Final = "url.path"
SCHEME: Final = "url.scheme"
STATUS: Final = "http.response.status_code"

Serve: TypeAlias = Callable[..., Coroutine[Any, Any, bytes]]
_SERVER_ERROR: Final = 500


def in_span(spans: Spans, route: str, serve: Serve) -> Serve:
    """Returns `serve` in a span of the request, below the span that its headers name.

    Where the application traces its requests, its own span is current, and there is no other.
    """

    async def serve_in_span(request: Request, *about: Any) -> bytes:
        if get_current_span().get_span_context().is_valid:
            return await serve(request, *about)
        scope = request.scope
        attributes = {METHOD: scope["method"], ROUTE: route, PATH: scope["path"], SCHEME: scope["scheme"]}
        named: dict[str, Any] = {"kind": SpanKind.SERVER, "attributes": attributes}
        recording = {"record_exception": False, "set_status_on_exception": False}
        parent = extract(request.headers)
        with spans.tracer.start_as_current_span(f"{scope['method']} {route}", parent, **named, **recording) as span:
            try:
                body = await serve(request, *about)
            except Exception as error:
                _fail(span, error)
                raise
            span.set_attribute(STATUS, 200)
            return body

    return serve_in_span


def _fail(span: Span, error: Exception) -> None:
    """Notes what the request is answered with: refusals are no errors of the server."""
    code = code_of(error) if isinstance(error, FanwiseError) else None
    status = _SERVER_ERROR if code is None or code.status is None else code.status
    span.set_attribute(STATUS, status)
    span.set_attribute(ERROR_TYPE, type(error).__name__ if code is None else code.value)
    if status >= _SERVER_ERROR:
        span.set_status(Status(StatusCode.ERROR))


def _context_of(op: Publish | UsualPublish) -> AbstractContextManager[None]:
    """Returns a context in which the span that a message names is the current one."""
    if isinstance(op, UsualPublish) or op.traceparent is None:
        return nullcontext()
    return _below(op.traceparent)


@contextmanager
def _below(traceparent: str) -> Iterator[None]:
    token = attach(extract({"traceparent": traceparent}))
    try:
        yield
    finally:
        detach(token)


class TracedJsonSession(JsonSession):
    """Answers one client of the JSON dialect, and publishes below the spans that its messages name."""

    __slots__ = ()

    def _publish(self, op: Publish | UsualPublish) -> Coroutine[Any, Any, None] | None:
        with _context_of(op):
            return super()._publish(op)


class TracedSharedJsonSession(SharedJsonSession):
    """Answers one client of the JSON dialect behind a backplane, and publishes below the spans of its messages."""

    __slots__ = ()

    def _publish(self, op: Publish | UsualPublish) -> Coroutine[Any, Any, None] | None:
        with _context_of(op):
            return super()._publish(op)
