"""The ready-made routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from ..broadcaster.node import Node
from ..core.codes import COME_BACK
from .assets import add_static
from .asyncapi import asyncapi_routes
from .auth.guards import Access
from .channels import channel_routes
from .clients import client_routes
from .demo.controller import DemoController
from .demo.routes import demo_routes
from .live import DEMO, Live, live_routes
from .metrics import metrics_routes
from .page import page_routes
from .publish import publishing_routes
from .sse import sse_routes
from .websocket import DEFAULT_CHANNEL, DEFAULT_TEMPLATE, WebSocketEndpoint


def build_router(
    broadcaster: Node,
    *,
    default_channel: str = DEFAULT_CHANNEL,
    template: str = DEFAULT_TEMPLATE,
    max_subscriptions: int = 100,
    heartbeat_seconds: float = 15.0,
    demo_clients: int = 0,
    demo_everybody: bool = False,
    access: Access | None = None,
    page: bool = False,
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None,
) -> APIRouter:
    """The routes of one broadcaster, which runs while the application that includes them does.

    Args:
        broadcaster: Whose routes they are.
        default_channel: Where `WS /ws` publishes without `?channel=`.
        template: What `WS /ws` makes of each text.
        max_subscriptions: How many channels one connection may be on.
        heartbeat_seconds: How often an event stream gets a comment.
        demo_clients: How many simulated clients the demo may open; 0: there is no demo.
        demo_everybody: Whether those may start it, too, who are not on this machine.
        access: Who may publish and operate, and which pages may connect; by default everybody, and pages of this host.
        page: Whether `GET /` is the live page.
        lifespan: Starts and stops the broadcaster; by default for as long as the application runs.
    """
    access = access or Access()
    websocket = WebSocketEndpoint(
        broadcaster,
        access,
        default_channel=default_channel,
        template=template,
        max_subscriptions=max_subscriptions,
    )

    live = Live(broadcaster, access)
    demo = DemoController(
        broadcaster,
        tell=partial(live.tell, DEMO),
        max_clients=demo_clients,
        available=demo_clients > 0,
        everybody=demo_everybody,
    )

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[None]:
        async with lifespan(app) if lifespan is not None else broadcaster, live, demo:
            yield

    router = APIRouter(lifespan=run)
    router.add_websocket_route("/ws", websocket.serve)
    router.include_router(publishing_routes(broadcaster, access))
    router.include_router(sse_routes(broadcaster, access, heartbeat_seconds=heartbeat_seconds))
    router.include_router(channel_routes(broadcaster, access))
    router.include_router(client_routes(broadcaster, access))
    router.include_router(asyncapi_routes(default_channel=default_channel, template=template))
    router.include_router(live_routes(live, broadcaster, access))
    router.include_router(metrics_routes(broadcaster, access))
    router.include_router(demo_routes(demo, broadcaster, access))
    _add_probes(router, broadcaster)
    add_static(router)
    if page:
        router.include_router(page_routes())
    return router


def _add_probes(router: APIRouter, broadcaster: Node) -> None:
    async def alive() -> dict[str, str]:
        """Answers as long as the event loop turns."""
        return {"status": "ok"}

    async def ready(response: Response) -> dict[str, bool]:
        """Whether new clients are taken in and looked after: 200 if so, else 503, as when the server is to stop."""
        if not broadcaster.ready:
            response.status_code = 503
            response.headers.update(COME_BACK)
        return {"ready": broadcaster.ready}

    router.add_api_route("/healthz", alive, tags=["Probes"])
    router.add_api_route(
        "/readyz", ready, tags=["Probes"], responses={503: {"description": "Not ready: about to stop, or broken."}}
    )
