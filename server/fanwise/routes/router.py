"""The ready-made routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response
from starlette.websockets import WebSocket

from ..broadcaster.node import Node
from ..core.codes import COME_BACK, CodedError, ErrorCode
from ..core.dialect import JSON
from ..core.publication import Kind
from ..core.reasons import CloseReason
from ..errors import ChannelLimitError, ChannelNameError, DrainingError, FullError, MessageTooBigError
from ..transport.connect import connect
from .assets import add_static
from .asyncapi import asyncapi_routes
from .auth.access import Access
from .conversation import Conversation
from .demo.controller import DemoController
from .demo.routes import demo_routes
from .inspection import inspection_routes
from .live import DEMO, Live, live_routes
from .messages import SUBPROTOCOL
from .metrics import metrics_routes
from .page import page_routes
from .problems import KEY_REFUSED, check_origin, turn_away
from .publish import publishing_routes
from .sse import sse_routes

_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum
DEFAULT_CHANNEL = "lobby"
DEFAULT_TEMPLATE = "Message: {text}"


def split_template(template: str) -> tuple[str, str]:
    """What goes before and after the text: ("Message: ", "") for "Message: {text}".

    Raises:
        ValueError: "{text}" does not stand in it exactly once.
    """
    if template.count("{text}") != 1:
        raise ValueError(f"template {template!r} must contain {{text}} exactly once")
    before, _, after = template.partition("{text}")
    return before, after


class Speaker:
    """Serves `WS /ws`: in the JSON dialect if the client offers it, else in the plain one.

    Args:
        broadcaster: Whose clients they become.
        access: Which pages may connect, and who may publish.
        default_channel: Where the plain dialect publishes without `?channel=`.
        template: What the plain dialect makes of each text; binary messages go out as they came in.
        max_subscriptions: How many channels a client of the JSON dialect may be on.
    """

    def __init__(
        self, broadcaster: Node, access: Access, *, default_channel: str, template: str, max_subscriptions: int
    ) -> None:
        self._broadcaster = broadcaster
        self._access = access
        self._default_channel = default_channel
        self._before, self._after = (part.encode() for part in split_template(template))
        self._max_subscriptions = max_subscriptions

    async def serve(self, websocket: WebSocket) -> None:
        """One client, from its handshake to its end."""
        holds_key = self._access.holds_key(websocket)
        try:
            check_origin(websocket, self._access)
            if holds_key is False:
                raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)  # noqa: TRY301 - all refusals leave by one door
            if SUBPROTOCOL in websocket.scope.get("subprotocols", ()):
                await self._json(websocket, may_publish=bool(holds_key))
            else:
                await self._plain(websocket, may_publish=bool(holds_key))
        except (CodedError, ChannelNameError, ChannelLimitError, FullError, DrainingError) as error:
            await turn_away(websocket, error, self._broadcaster.tally.reject)

    async def _plain(self, websocket: WebSocket, *, may_publish: bool) -> None:
        """What a client sends goes to all clients of its channel, itself included."""
        channel = websocket.query_params.get("channel", self._default_channel)
        async with connect(self._broadcaster, websocket, channel=channel) as client:
            async for kind, data in client.received():
                if not may_publish:
                    client.close(CloseReason.UNAUTHORISED)
                    return
                try:
                    await self._broadcaster.append(
                        channel, kind, self._before + data + self._after if kind is _TEXT else data
                    )
                except MessageTooBigError:
                    client.close(CloseReason.TOO_BIG)

    async def _json(self, websocket: WebSocket, *, may_publish: bool) -> None:
        async with connect(self._broadcaster, websocket, subprotocol=SUBPROTOCOL, dialect=JSON) as client:
            conversation = Conversation(
                self._broadcaster, client, max_subscriptions=self._max_subscriptions, may_publish=may_publish
            )
            conversation.welcome()
            async for kind, data in client.received():
                await conversation.answer(kind, data)


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
    speaker = Speaker(
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
    router.add_websocket_route("/ws", speaker.serve)
    router.include_router(publishing_routes(broadcaster, access))
    router.include_router(sse_routes(broadcaster, access, heartbeat_seconds=heartbeat_seconds))
    router.include_router(inspection_routes(broadcaster, access))
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
