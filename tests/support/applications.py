"""Applications that users write, right and wrong, for the tests of `fanwise.testing`."""

from __future__ import annotations

import time

from fastapi import FastAPI, WebSocket

from fanwise import Broadcaster
from fanwise.tools.load.tutorial import TutorialLoop


def tutorial() -> FastAPI:
    """The loop of the tutorials: a client that does not read stops all others."""
    app, loop = FastAPI(), TutorialLoop()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        async with loop.joined(websocket):
            async for text in websocket.iter_text():
                await loop.publish(text)

    return app


def blocking(broadcaster: Broadcaster, *, seconds: float) -> FastAPI:
    """Holds the event loop at each message."""
    app = FastAPI(lifespan=broadcaster.lifespan)

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        async with broadcaster.connect(websocket, channel="lobby") as client:
            async for text in client:
                time.sleep(seconds)  # noqa: ASYNC251 - on purpose
                await broadcaster.publish("lobby", text)

    return app


def closing(code: int, text: str) -> FastAPI:
    """Closes each client at its first message."""
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive()
        await websocket.close(code, text)

    return app
