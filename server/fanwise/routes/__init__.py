"""The ready-made routes of FastAPI.

    router        `build_router`: the ready-made routes, put together from the files below
    websocket     `WS /ws`: the plain dialect, and the JSON dialect
    json_session  answers to a client of the JSON dialect
    flight        publications of one connection that wait for an engine
    json_models   the messages of the JSON dialect
    trace_context  the span that a message of the JSON dialect belongs to
    tracing       spans of requests, for OpenTelemetry
    json_tags     tags and filters in JSON, as fields of models
    json_size     how large a JSON text is, and what parsing it takes
    publish       `POST /publish`, one payload or a batch
    batch         the entries of a batch
    bodies        bodies of requests, read within a bound
    idempotency   `Idempotency-Key`: a request that is sent again is published once
    beginnings    where a stream begins and what it lets through, as URLs say it
    sse           `GET /sse/{channel}`: a channel as an event stream
    channel_rules what options of channels say about peers
    channels      `GET /channels`, and what a channel's log retains
    presence      `GET /channels/{channel}/presence`: who is on a channel
    presence_json  the users on a channel, as JSON
    clients       `GET /clients`, and closing one
    live          `GET /stats`, and `WS /live`: its parts each second
    stats         the document of `/stats` and `/live`
    past          `GET /stats/past`: the last hour, for charts
    process       memory, CPU time and descriptors of this process
    trace         `GET /trace`: publications and slow clients, as a file to replay
    metrics       `GET /metrics`, for Prometheus
    asyncapi      `GET /asyncapi.json`: the WebSocket dialects described for machines
    description   `GET /docs` and `GET /openapi.json`, where reading asks for something
    page          `GET /`: the live page
    assets        `GET /static/{path}`: the files that browsers load
    static        those files
    streams       long answers, sent piece by piece at the peer's pace
    problems      answers to errors, over HTTP and in handshakes; `core.codes` has the codes

Three rooms inside have maps of their own: auth, demo and fleet.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .auth.guards import Access
    from .auth.tokens import open_tokens
    from .router import build_router

__all__ = ["Access", "build_router", "open_tokens"]

_HOMES = {"Access": ".auth.guards", "build_router": ".router", "open_tokens": ".auth.tokens"}


def __getattr__(name: str) -> object:
    """Imports a public name when it is used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
