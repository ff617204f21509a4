"""The connections of the checks."""

from __future__ import annotations

import base64
import fcntl
import secrets
import socket
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from ...errors import shorten
from ..remote import PATIENCE_SECONDS, ForeignError, Remote, RemoteError, UnreachableError, describe

SUBPROTOCOL = "fanwise.v1"
_LOOK_SECONDS = 0.02  # between two looks at something that is about to come


class Probe:
    """Opens connections of all kinds to one server. Raises a RemoteError for any failure.

    Args:
        remote: The server.
        patience_seconds: How long a client that has come may take to be listed.
    """

    def __init__(self, remote: Remote, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.remote = remote
        self._patience_seconds = patience_seconds

    @staticmethod
    def private_channel() -> str:
        """Returns the name of a channel without other clients."""
        return f"fanwise.doctor.{secrets.token_hex(8)}"

    @contextmanager
    def websocket(self, *, deflate: bool = False) -> Iterator[ClientConnection]:
        """A client of the JSON dialect, before its welcome."""
        remote = self.remote
        try:
            websocket = connect(
                remote.websocket_url("/ws"),
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression="deflate" if deflate else None,
                additional_headers=remote.headers,
                ssl=remote.context,
                proxy=None,
                open_timeout=remote.patience_seconds,
                close_timeout=1,
                ping_interval=None,  # seconds of use need none, and its thread could fail as it was joined
                max_size=None,
            )
        except (OSError, WebSocketException) as error:
            raise self._translated(error) from error
        with websocket:
            if websocket.subprotocol != SUBPROTOCOL:
                raise ForeignError(remote.url, f"its /ws does not speak {SUBPROTOCOL}")
            yield websocket

    def subscribe(self, websocket: ClientConnection, channel: str) -> str:
        """Hears the welcome, and puts the client onto the channel; returns its id."""
        own = self.hear(websocket).get("client")
        try:
            websocket.send(f'{{"op":"subscribe","channel":"{channel}"}}')
        except (OSError, WebSocketException) as error:
            raise self._translated(error) from error
        self.expect(websocket, "subscribed")
        return str(own)

    def expect(self, websocket: ClientConnection, op: str) -> None:
        """Hears the next message. Raises ForeignError unless its `op` is `op`."""
        heard = self.hear(websocket).get("op")
        if heard != op:
            raise ForeignError(self.remote.url, f"it says {shorten(str(heard))} where {op!r} should be")

    def hear(self, websocket: ClientConnection) -> dict[str, Any]:
        """The next message of the JSON dialect."""
        try:
            heard = self.remote.decode(websocket.recv(timeout=self.remote.patience_seconds), "a message")
        except (OSError, WebSocketException) as error:
            raise self._translated(error) from error
        if not isinstance(heard, dict):
            raise ForeignError(self.remote.url, "a message of its is no object")
        return heard

    @contextmanager
    def event_stream(self, channel: str) -> Iterator[None]:
        """A client of `/sse`, of which nothing is read but the head."""
        with self.remote.asking("GET", f"/sse/{quote(channel)}") as answer:
            if answer.status != HTTPStatus.OK:
                raise self.remote.refusal("GET /sse", answer.status)
            yield

    @contextmanager
    def silent(self, channel: str) -> Iterator[socket.socket]:
        """A client of the plain dialect that reads nothing after its handshake. Its buffers are the kernel's own."""
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
            "Sec-WebSocket-Version": "13",
        }
        with self.remote.asking("GET", f"/ws?channel={quote(channel)}", headers=headers) as answer:
            if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
                raise self.remote.refusal("WS /ws", answer.status)
            yield answer.peer

    def clients(self, channel: str) -> dict[str, dict[str, Any]]:
        """{id: client} of those on the channel."""
        listed = self.remote.get(f"/clients?channel={channel}")
        return {client["id"]: client for client in listed["clients"]}

    def await_clients(self, channel: str, *, count: int) -> dict[str, dict[str, Any]]:
        """Returns {id: client} of a channel once there are `count` of them.

        Raises:
            ForeignError: They do not come.
        """
        end = time.monotonic() + self._patience_seconds
        while len(found := self.clients(channel)) != count:
            if time.monotonic() > end:
                raise ForeignError(self.remote.url, "GET /clients does not list who has just come")
            time.sleep(_LOOK_SECONDS)
        return found

    def _translated(self, error: Exception) -> RemoteError:
        url = self.remote.url
        if isinstance(error, InvalidStatus):
            return self.remote.refusal("WS /ws", error.response.status_code, error.response.body or b"")
        if isinstance(error, InvalidHandshake):
            return ForeignError(url, f"it does not answer a WebSocket handshake as it should ({type(error).__name__})")
        if isinstance(error, OSError):
            return UnreachableError(url, describe(error))
        return UnreachableError(url, f"the connection ended ({type(error).__name__})")


def received_bytes(peer: socket.socket) -> int | None:
    """Returns the bytes that the kernel holds for `peer` (FIONREAD, tcp(7)); None where unknown."""
    if not sys.platform.startswith("linux"):
        return None
    return int(struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.FIONREAD, bytes(4)))[0])
