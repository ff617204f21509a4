"""The broadcaster as a FastAPI application holds it: in place of a list of clients and a loop over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket

from .broadcaster.client import Client
from .broadcaster.node import Node
from .core.publication import Position
from .routes.router import build_router
from .transport.connect import connect
from .transport.workers import warn_of_other_workers


class Broadcaster(Node):
    """A `Broadcaster` with what FastAPI needs: `lifespan`, `connect()` and `router`.

    Example:
        broadcaster = Node()
        app = FastAPI(lifespan=broadcaster.lifespan)

        @app.websocket("/ws")
        async def endpoint(websocket: WebSocket):
            async with broadcaster.connect(websocket, channel="lobby") as client:
                async for text in client:
                    await broadcaster.publish("lobby", f"Message: {text}")
    """

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Runs the broadcaster while the application runs: `FastAPI(lifespan=broadcaster.lifespan)`."""
        warn_of_other_workers()
        async with self:
            yield

    def connect(
        self, websocket: WebSocket, *, channel: str, since: Position | None = None, subprotocol: str | None = None
    ) -> AbstractAsyncContextManager[Client]:
        """Accepts `websocket`, unless that was done, and makes it a client of `channel` while the context lasts.

        It begins after `since`, by default at the channel's head. Which origins may connect is the endpoint's decision.

        Iterating over the client gives what it sends, text as str and binary as bytes, and ends when it has left or
        was closed. What is published to the channel reaches it by itself.

        Raises, before the WebSocket is accepted:
            ChannelLimitError: There is no room for another channel.
            ChannelNameError: The channel's name is not allowed.
            DrainingError: The server is about to stop.
            FullError: There are `max_clients` already.
            AlreadyConnectedError: The WebSocket is a client already.
            NotRunningError: The broadcaster was not started.
        """
        return connect(self, websocket, channel=channel, since=since, subprotocol=subprotocol)

    @cached_property
    def router(self) -> APIRouter:
        """The ready-made routes, for `app.include_router(broadcaster.router)`; they start the broadcaster too."""
        return build_router(self, lifespan=self.lifespan)
