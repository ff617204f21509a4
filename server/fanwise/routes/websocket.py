"""`WS /ws`: the JSON dialect for clients that offer it, and else the plain one."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from typing import Any

from starlette.websockets import WebSocket

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.sink import Work
from ..core.codes import CodedError, ErrorCode
from ..core.dialect import JSON, PLAIN
from ..core.publication import Kind, Position
from ..core.reasons import CloseReason
from ..errors import (
    BackplaneDownError,
    ChannelLimitError,
    ChannelNameError,
    DrainingError,
    FanwiseError,
    FullError,
    MessageTooBigError,
)
from ..transport.connect import attach
from ..transport.door import Entry
from ..transport.handshakes import Asked
from .auth.guards import KEY_REFUSED, Access
from .flight import Flight
from .json_models import SUBPROTOCOL
from .json_session import JsonSession, SharedJsonSession, welcome
from .problems import turn_away

DEFAULT_CHANNEL = "lobby"
DEFAULT_TEMPLATE = "Message: {text}"
_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum
_REFUSALS = (BackplaneDownError, CodedError, ChannelNameError, ChannelLimitError, FullError, DrainingError)


def split_template(template: str) -> tuple[str, str]:
    """Returns what a template has before and after the text: ("Message: ", "") for "Message: {text}".

    Raises:
        ValueError: The template does not contain "{text}" exactly once.
    """
    if template.count("{text}") != 1:
        raise ValueError(f"template {template!r} must contain {{text}} exactly once")
    before, _, after = template.partition("{text}")
    return before, after


class WebSocketEndpoint:
    """Serves `WS /ws`: in the JSON dialect if the client offers it, else in the plain one.

    Args:
        broadcaster: The node that takes the clients.
        access: Hosts and pages that may connect, and the key of publishers.
        default_channel: Channel of the plain dialect without `?channel=`.
        template: Text of each publication of the plain dialect; binary messages are published unchanged.
        max_subscriptions: Channels that a client of the JSON dialect may be on.
    """

    def __init__(
        self, broadcaster: Node, access: Access, *, default_channel: str, template: str, max_subscriptions: int
    ) -> None:
        self._broadcaster = broadcaster
        self._access = access
        self._default_channel = default_channel
        self._before, self._after = (part.encode() for part in split_template(template))
        self._max_subscriptions = max_subscriptions
        self._sessions = (SharedPlainSession, SharedJsonSession) if broadcaster.shares else (PlainSession, JsonSession)

    def enter(self, handshake: Asked) -> Entry:
        """Returns what to make of a handshake.

        Raises:
            CodedError: It names another host, comes from a page of one, or brings a wrong key.
        """
        self._access.check_site(handshake)
        holds_key = self._access.key.is_held_by(handshake)
        if holds_key is False:
            raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)
        secret = bool(holds_key and self._access.key)
        if SUBPROTOCOL in handshake.scope.get("subprotocols", ()):
            serve = partial(self._serve_json, bool(holds_key))
            return Entry(None, SUBPROTOCOL, JSON, serve, self._welcome, secret=secret)
        channel = handshake.query_params.get("channel", self._default_channel)
        return Entry(channel, None, PLAIN, partial(self._serve_plain, bool(holds_key), channel), secret=secret)

    async def serve(self, websocket: WebSocket) -> None:
        """Makes a client of one WebSocket, or refuses it."""
        try:
            entry = self.enter(websocket)
            await attach(
                self._broadcaster,
                websocket,
                entry.begin,
                channel=entry.channel,
                subprotocol=entry.subprotocol,
                dialect=entry.dialect,
            )
        except _REFUSALS as error:
            await turn_away(websocket, error, self._broadcaster.tally.reject)

    def _serve_plain(self, may_publish: bool, channel: str, client: Client) -> Work:
        return self._sessions[0](
            self._broadcaster, client, channel=channel, before=self._before, after=self._after, may_publish=may_publish
        ).work

    def _serve_json(self, may_publish: bool, client: Client) -> Work:
        return self._sessions[1](
            self._broadcaster, client, max_subscriptions=self._max_subscriptions, may_publish=may_publish
        ).work

    def _welcome(self, client: Client) -> None:
        welcome(self._broadcaster, client, max_subscriptions=self._max_subscriptions)


class PlainSession:
    """Publishes each message of a client to the channel that the client is on.

    Args:
        broadcaster: The node that has the channel.
        client: The client.
        channel: Its channel.
        before: What stands before each text.
        after: What stands behind it.
        may_publish: Whether the client has brought the key that publishing asks for.
    """

    __slots__ = ("_after", "_before", "_broadcaster", "_channel", "_client", "_may_publish")

    def __init__(
        self, broadcaster: Node, client: Client, *, channel: str, before: bytes, after: bytes, may_publish: bool
    ) -> None:
        self._broadcaster = broadcaster
        self._client = client
        self._channel = channel
        self._before = before
        self._after = after
        self._may_publish = may_publish

    def work(self, kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        """Publishes a message, or closes the client; returns what to await before the next message, if anything."""
        if not self._may_publish:
            self._client.close(CloseReason.UNAUTHORISED)
            return None
        if kind is _TEXT:
            data = self._before + data + self._after
        try:
            publication, waits = self._broadcaster.append_in_turn(self._channel, kind, data)
        except MessageTooBigError:
            self._client.close(CloseReason.TOO_BIG)
            return None
        return waits if publication is not None else self._publish_after(waits, kind, data)

    def at_once(self, texts: Sequence[bytes]) -> bool:
        """Publishes texts together; returns False if none was published, as they have to be looked at one by one."""
        if not self._may_publish:
            return False
        before, after = self._before, self._after
        return self._broadcaster.append_at_once(self._channel, _TEXT, [before + text + after for text in texts])

    async def _publish_after(self, waits: Awaitable[None] | None, kind: Kind, data: bytes) -> None:
        if waits is not None:
            await waits
        await self._broadcaster.append(self._channel, kind, data)


class SharedPlainSession(PlainSession):
    """Publishes the messages of a client of the plain dialect, and closes the client if one is not taken.

    Takes what `PlainSession` takes.
    """

    __slots__ = ("_flight",)

    def __init__(
        self, broadcaster: Node, client: Client, *, channel: str, before: bytes, after: bytes, may_publish: bool
    ) -> None:
        super().__init__(broadcaster, client, channel=channel, before=before, after=after, may_publish=may_publish)
        self._flight = Flight(lambda error: broadcaster.client_failed(client, error))

    def work(self, kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        """Publishes a message, or closes the client; returns what to await before the next message, if anything."""
        if not self._may_publish:
            self._client.close(CloseReason.UNAUTHORISED)
            return None
        if kind is _TEXT:
            data = self._before + data + self._after
        try:
            future = self._broadcaster.sharing.submit(self._channel, kind, data)
        except MessageTooBigError:
            self._client.close(CloseReason.TOO_BIG)
            return None
        return self._flight.add(future, len(data), self._answer)

    def at_once(self, texts: Sequence[bytes]) -> bool:  # noqa: ARG002 - one by one they are in one frame all the same
        """Returns False: texts are looked at one by one."""
        return False

    def _answer(self, outcome: Position | FanwiseError) -> None:
        if isinstance(outcome, FanwiseError):
            self._client.close(CloseReason.BACKPLANE)  # the dialect has no other answer
