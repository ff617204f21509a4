"""The loop of the tutorials, as it stands in them: what Fanwise is compared with."""

from __future__ import annotations

import secrets
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

# All that servers and Starlette raise when the peer has left.
_GONE = (WebSocketDisconnect, RuntimeError, OSError)


class TutorialLoop:
    """A list of WebSockets and a loop over it.

    Attributes:
        token: What a WebSocket has to bring along: the loop is for the demo's own clients.
        clients: Those who are connected.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(16)
        self.clients: list[WebSocket] = []

    async def serve(self, websocket: WebSocket) -> None:
        """One client, until it leaves."""
        await websocket.accept()
        self.clients.append(websocket)
        try:
            async for _text in websocket.iter_text():
                continue
        finally:
            self.clients.remove(websocket)

    async def publish(self, text: str) -> None:
        """Sends to one client after the other: who does not read stops all who come after it, and the next message.

        Kinder than most tutorials: clients may come and go meanwhile.
        """
        for client in list(self.clients):
            with suppress(*_GONE):
                await client.send_text(text)
