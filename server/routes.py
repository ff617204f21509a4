"""The ready-made routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response
from starlette.websockets import WebSocket

from .broadcaster import Broadcaster
from .errors import ChannelNameError, DrainingError, FullError, MessageTooBigError
from .reasons import CloseReason
from .websocket import connect, refuse

DEFAULT_CHANNEL = "lobby"
DEFAULT_TEMPLATE = "Message: {text}"
COME_BACK = {"Retry-After": "5"}  # seconds: about what draining takes, and a start


def split_template(template: str) -> tuple[str, str]:
    """What goes before and after the text: ("Message: ", "") for "Message: {text}".

    Raises:
        ValueError: "{text}" does not stand in it exactly once.
    """
    if template.count("{text}") != 1:
        raise ValueError(f"template {template!r} must contain {{text}} exactly once")
    before, _, after = template.partition("{text}")
    return before, after


def build_router(
    broadcaster: Broadcaster,
    *,
    default_channel: str = DEFAULT_CHANNEL,
    template: str = DEFAULT_TEMPLATE,
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None,
) -> APIRouter:
    """The routes of one broadcaster, which runs while the application that includes them does.

    Args:
        broadcaster: Whose routes they are.
        default_channel: Where `WS /ws` publishes without `?channel=`.
        template: What `WS /ws` makes of each text; binary messages go out as they came in.
        lifespan: Starts and stops the broadcaster; by default for as long as the application runs.
    """
    before, after = split_template(template)

    async def plain(websocket: WebSocket) -> None:
        """The plain dialect: what a client sends goes to all clients of its channel, itself included."""
        channel = websocket.query_params.get("channel", default_channel)
        try:
            async with connect(broadcaster, websocket, channel=channel) as client:
                async for message in client:
                    payload = f"{before}{message}{after}" if isinstance(message, str) else message
                    try:
                        await broadcaster.publish(channel, payload)
                    except MessageTooBigError:
                        client.close(CloseReason.TOO_BIG)
        except ChannelNameError as error:
            await refuse(websocket, 400, str(error))
        except (FullError, DrainingError) as error:
            await refuse(websocket, 503, str(error), headers=COME_BACK)

    @asynccontextmanager
    async def run(_app: Any) -> AsyncIterator[None]:
        async with broadcaster:
            yield

    router = APIRouter(lifespan=lifespan or run)
    router.add_websocket_route("/ws", plain)
    _add_probes(router, broadcaster)
    return router


def _add_probes(router: APIRouter, broadcaster: Broadcaster) -> None:
    async def alive() -> dict[str, str]:
        """Answers as long as the event loop turns."""
        return {"status": "ok"}

    async def ready(response: Response) -> dict[str, bool]:
        """Whether new clients are taken in and looked after: 200 if so, else 503, as when the server is to stop."""
        if not broadcaster.ready:
            response.status_code = 503
            response.headers.update(COME_BACK)
        return {"ready": broadcaster.ready}

    router.add_api_route("/healthz", alive)
    router.add_api_route("/readyz", ready, responses={503: {"description": "Not ready: about to stop, or broken."}})
