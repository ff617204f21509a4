"""The ready-made routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias, cast

from fastapi import APIRouter
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from ..broadcaster.node import Node
from ..broadcaster.survey import Surveyed
from ..core.codes import COME_BACK, CodedError, ErrorCode
from ..transport.door import Door
from ..transport.proxies import TrustedProxies
from ..transport.stream_door import StreamDoor
from .assets import static_routes
from .asyncapi import asyncapi_routes
from .auth.guards import Access
from .channel_rules import ChannelRules
from .channels import channel_routes
from .clients import client_routes
from .demo.controller import DemoController
from .demo.routes import demo_routes
from .fleet.answers import answers_of
from .fleet.figures import FleetCollector
from .fleet.lists import FleetLists
from .fleet.past import FleetPasts
from .fleet.samples import samples_of
from .live import DEMO, Live, live_routes
from .metrics import metrics_routes
from .page import demo_page, page_routes
from .past import past_routes
from .presence import presence_routes
from .problems import make_router
from .publish import publishing_routes
from .sse import CHANNEL, EventStreamEndpoint, sse_routes
from .streams import LongAnswers
from .trace import trace_routes
from .websocket import DEFAULT_CHANNEL, DEFAULT_TEMPLATE, WebSocketEndpoint

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]


def build_router(
    broadcaster: Node,
    *,
    default_channel: str = DEFAULT_CHANNEL,
    template: str = DEFAULT_TEMPLATE,
    max_subscriptions: int = 100,
    heartbeat_seconds: float = 15.0,
    pong_seconds: float | None = None,
    demo_clients: int = 0,
    demo_everybody: bool = False,
    demo_workers: int = 1,
    access: Access | None = None,
    page: bool = False,
    lifespan: Lifespan | None = None,
) -> APIRouter:
    """Returns the routes of one broadcaster, which runs while the application that includes them does.

    Args:
        broadcaster: Its channels and clients are served.
        default_channel: Channel of `WS /ws` without `?channel=`.
        template: `WS /ws` publishes each text in it, in place of "{text}".
        max_subscriptions: Channels that one connection may be on.
        heartbeat_seconds: Time between two comments of an event stream.
        pong_seconds: The server's longest time between a ping and its pong, for `/stats`; None: unlimited, or unknown.
        demo_clients: Simulated clients that the demo may open; below 4 there is no demo.
        demo_everybody: Whether peers that are not on this machine may start the demo, too.
        demo_workers: Processes behind the port; with more than one there is no demo.
        access: Who may publish and operate, and which pages may connect; by default everybody, and pages of this host.
        page: Whether `GET /` is the live page.
        lifespan: Starts and stops the broadcaster; by default for as long as the application runs.
    """
    live = _live(broadcaster, access := access or Access(), pong_seconds)
    bounds: dict[str, Any] = {"max_clients": demo_clients, "everybody": demo_everybody, "workers": demo_workers}
    demo = DemoController(broadcaster, send=partial(live.send, DEMO), **bounds)
    router = APIRouter(lifespan=_lifespan(lifespan or (lambda _app: broadcaster), access.keys_of_tokens, live, demo))
    plain = {"default_channel": default_channel, "template": template}
    endpoint = WebSocketEndpoint(broadcaster, access, max_subscriptions=max_subscriptions, **plain)
    router.add_api_websocket_route("/ws", endpoint.serve)
    own = [sse_routes(broadcaster, access, heartbeat_seconds=heartbeat_seconds), asyncapi_routes(access, **plain)]
    return _with_all_of(router, *own, *_routes(broadcaster, access, live, demo, page=page))


def _with_all_of(router: APIRouter, *others: APIRouter) -> APIRouter:
    """Adds their routes: FastAPI asks each router that is included twice for each request and handshake."""
    router.routes += [route for other in others for route in other.routes]
    return router


def _workers(broadcaster: Node) -> Surveyed | None:
    """Returns the node as one that has other workers, if it may have some."""
    return cast("Surveyed", broadcaster) if broadcaster.shares else None


def _live(broadcaster: Node, access: Access, pong_seconds: float | None) -> Live:
    """Returns what `/stats` and `/live` are made by. Other workers are answered from it, too."""
    workers = _workers(broadcaster)
    if workers is None:
        return Live(broadcaster, access, pong_seconds=pong_seconds)
    everywhere = FleetCollector(lambda: workers.survey)
    counts: dict[str, Any] = {"published": lambda: workers.published}
    live = Live(broadcaster, access, pong_seconds=pong_seconds, everywhere=everywhere, **counts)
    workers.answers.update(answers_of(broadcaster, live.collector, past=live.past, **counts))
    return live


def build_door(
    broadcaster: Node,
    router: APIRouter,
    middleware: Sequence[Middleware] = (),
    proxies: TrustedProxies | None = None,
) -> Door:
    """Returns the door to the routes of `router`.

    Args:
        broadcaster: That of the routes.
        router: What `build_router` has returned, included without a prefix.
        middleware: The application's, which waits for nothing. The first is the outermost.
        proxies: The proxies that the application believes; None: none.
    """
    owners = [
        (getattr(route, "path", ""), getattr(getattr(route, "endpoint", None), "__self__", None))
        for route in router.routes
    ]
    if broadcaster.shares and not ChannelRules(broadcaster).open:  # other servers are asked, which takes time
        owners = []
    websockets = {path: owner for path, owner in owners if isinstance(owner, WebSocketEndpoint) and not owner.asks}
    streams = {
        path.removesuffix(CHANNEL): owner
        for path, owner in owners
        if isinstance(owner, EventStreamEndpoint) and not owner.asks
    }
    return Door(broadcaster, websockets, StreamDoor(broadcaster, streams, middleware, proxies), proxies)


def _routes(broadcaster: Node, access: Access, live: Live, demo: DemoController, *, page: bool) -> Iterator[APIRouter]:
    workers = _workers(broadcaster)
    yield publishing_routes(broadcaster, access)
    answers = LongAnswers(broadcaster)
    lists = None if workers is None else FleetLists(lambda: workers.survey, broadcaster.count_answer_bytes)
    yield channel_routes(broadcaster, access, answers, lists)
    yield presence_routes(broadcaster, access)
    yield client_routes(broadcaster, access, answers, lists)
    yield live_routes(live, broadcaster, access)
    pasts = None if workers is None else FleetPasts(lambda: workers.survey, live.past, broadcaster.count_answer_bytes)
    yield past_routes(live.past, broadcaster, access, answers, pasts)
    yield metrics_routes(broadcaster, access, None if workers is None else samples_of(broadcaster, workers))
    yield trace_routes(broadcaster, access, pong_seconds=live.collector.pong_seconds)
    yield demo_routes(demo, broadcaster, access, demo_page if page else None)
    yield probe_routes(broadcaster)
    yield static_routes()
    yield upgrade_routes("/ws", "/live", reject=broadcaster.tally.reject)  # last: each route before another one costs
    if page:
        yield page_routes()


def _lifespan(own: Lifespan, *others: AbstractAsyncContextManager[Any]) -> Lifespan:
    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(own(app))
            for other in others:
                await stack.enter_async_context(other)
            yield

    return run


def upgrade_routes(*paths: str, reject: Callable[[ErrorCode], None]) -> APIRouter:
    """`GET` for each of `paths`, which are WebSockets: answers 426, and what the request lacks for one."""
    router = make_router(reject)

    async def upgrade(request: Request) -> Response:
        raise CodedError(ErrorCode.UPGRADE_REQUIRED, _no_websocket(request))

    for path in paths:
        router.add_api_route(path, upgrade, include_in_schema=False)
    return router


def _no_websocket(request: Request) -> str:
    """Returns what a request lacks to be a WebSocket handshake (RFC 6455 section 4.1)."""
    fields = {
        "Connection: Upgrade": "upgrade" in request.headers.get("connection", "").lower(),
        "Upgrade: websocket": request.headers.get("upgrade", "").lower() == "websocket",
        "Sec-WebSocket-Key": "sec-websocket-key" in request.headers,
        "Sec-WebSocket-Version": "sec-websocket-version" in request.headers,
    }
    missing = ", ".join(name for name, is_here in fields.items() if not is_here)
    if not missing:
        return "this is a WebSocket, and the server runs without: give uvicorn --ws fanwise.protocol:FanwiseProtocol"
    return f"this is a WebSocket, and the request lacks {missing}: clients send them, and proxies have to pass them on"


def probe_routes(broadcaster: Node) -> APIRouter:
    """`GET /healthz` and `GET /readyz`."""
    router = APIRouter(tags=["Probes"])

    async def alive() -> dict[str, str]:
        """Answers 200 while the event loop turns."""
        return {"status": "ok"}

    async def ready(response: Response) -> dict[str, bool | str]:
        """Answers 200 while new clients are served in time; else 503, with the reason as `why`.

        The reasons are `draining`, `stopped`, `loop_lag`, and `backplane` for an engine that is away.
        """
        why = broadcaster.unready
        if not why:
            return {"ready": True}
        response.status_code = 503
        response.headers.update(COME_BACK)
        return {"ready": False, "why": why}

    router.add_api_route("/healthz", alive)
    router.add_api_route("/readyz", ready, responses={503: {"description": "Not ready: about to stop, or broken."}})
    return router
