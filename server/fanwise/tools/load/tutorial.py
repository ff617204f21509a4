"""The loop of the tutorials, as it stands in them: `fanwise bench` and the demo compare Fanwise with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

# All that servers and Starlette raise when the peer has left.
_GONE = (WebSocketDisconnect, RuntimeError, OSError)


class TutorialLoop:
    """A list of WebSockets and a loop over it.

    Attributes:
        clients: The connected WebSockets, in the order in which they came.
    """

    def __init__(self) -> None:
        self.clients: list[WebSocket] = []

    @asynccontextmanager
    async def joined(self, websocket: WebSocket) -> AsyncIterator[None]:
        """Accepts a WebSocket, and keeps it in the list while the context lasts."""
        await websocket.accept()
        self.clients.append(websocket)
        try:
            yield
        finally:
            self.clients.remove(websocket)

    async def publish(self, text: str) -> None:
        """Sends to one client after the other: each waits for all before it, and so does the next message.

        Kinder than most tutorials: clients may come and go meanwhile.
        """
        for client in list(self.clients):
            with suppress(*_GONE):
                await client.send_text(text)
