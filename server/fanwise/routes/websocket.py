"""`WS /ws`: the JSON dialect for clients that offer it, and else the plain one."""

from __future__ import annotations

from starlette.websockets import WebSocket

from ..broadcaster.node import Node
from ..core.codes import CodedError, ErrorCode
from ..core.dialect import JSON
from ..core.publication import Kind
from ..core.reasons import CloseReason
from ..errors import ChannelLimitError, ChannelNameError, DrainingError, FullError, MessageTooBigError
from ..transport.connect import connect
from ..transport.limits import budget_of
from .auth.guards import KEY_REFUSED, Access
from .json_models import SUBPROTOCOL
from .json_session import JsonSession
from .problems import turn_away

_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum
DEFAULT_CHANNEL = "lobby"
DEFAULT_TEMPLATE = "Message: {text}"


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

    async def serve(self, websocket: WebSocket) -> None:
        """Serves one client, from its handshake to its end."""
        holds_key = self._access.key.is_held_by(websocket)
        try:
            self._access.check_site(websocket)
            if holds_key is False:
                raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)  # noqa: TRY301 - all refusals leave by one door
            if SUBPROTOCOL in websocket.scope.get("subprotocols", ()):
                await self._json(websocket, may_publish=bool(holds_key))
            else:
                await self._plain(websocket, may_publish=bool(holds_key))
        except (CodedError, ChannelNameError, ChannelLimitError, FullError, DrainingError) as error:
            await turn_away(websocket, error, self._broadcaster.tally.reject)

    async def _plain(self, websocket: WebSocket, *, may_publish: bool) -> None:
        """Publishes each message of a client to the channel that the client is on."""
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
            session = JsonSession(
                self._broadcaster,
                client,
                max_subscriptions=self._max_subscriptions,
                may_publish=may_publish,
                budget=budget_of(websocket.scope),
            )
            session.welcome()
            async for kind, data in client.received():
                await session.answer(kind, data)
