"""The ready-made routes of FastAPI.

    router        `build_router`: the ready-made routes, put together from the files below
    live          `GET /stats`, and `WS /live`: the same for watchers each second
    stats         the document that `/stats` and `/live` send
    metrics       `GET /metrics`, for Prometheus
    asyncapi      `GET /asyncapi.json`: the WebSocket dialects described for machines
    inspection    `/channels` and `/clients`
    sse           `GET /sse/{channel}`: a channel as an event stream
    publish       `POST /publish`, one payload or a batch
    idempotency   `Idempotency-Key`: a request that is sent again is published once
    conversation  answers to a client of the JSON dialect
    messages      the models of the JSON dialect
    page          `GET /`: the live page
    assets        `GET /static/{path}`: the files that browsers load
    problems      errors with a code over HTTP and in handshakes; guards for key and origin
    process       memory, CPU time and descriptors of this process

Two rooms inside have maps of their own: auth and demo.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .router import build_router

__all__ = ["build_router"]


def __getattr__(name: str) -> object:
    """Imports what is asked for when it is asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".router", __name__), name)
