"""`WS /ws`: the JSON dialect for clients that offer it, and else the plain one."""

from __future__ import annotations

import time
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
from ..core.rights import Action, Rights
from ..core.roles import Role
from ..errors import (
    BackplaneDownError,
    BeginningError,
    ChannelLimitError,
    ChannelNameError,
    DrainingError,
    FanwiseError,
    FilterLimitError,
    FullError,
    MessageTooBigError,
    NoChannelError,
    TagError,
)
from ..transport.addresses import peer_of
from ..transport.connect import attach
from ..transport.door import Entry
from ..transport.handshakes import Asked
from .auth.credentials import Read, TokenRights
from .auth.guards import KEY_REFUSED, Access
from .beginnings import asked_beginning, to_listen
from .channel_rules import ChannelRules
from .flight import Flight
from .json_models import SUBPROTOCOL
from .json_session import JsonSession, SharedJsonSession, welcome
from .problems import turn_away

DEFAULT_CHANNEL = "lobby"
DEFAULT_TEMPLATE = "Message: {text}"
TOKEN_SECONDS = 5.0  # for which a connection waits for a token that its handshake has not brought
_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum
_REFUSALS = (
    BackplaneDownError,
    BeginningError,
    ChannelLimitError,
    ChannelNameError,
    CodedError,
    DrainingError,
    FilterLimitError,
    FullError,
    MessageTooBigError,
    NoChannelError,
    TagError,
)


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
        access: Hosts and pages that may connect, and who may read and publish.
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
        self._rules = ChannelRules(broadcaster)
        self._namespaces = broadcaster.inspect.namespaces or None
        self._plain = SharedPlainSession if broadcaster.shares else PlainSession
        self._json = _json_sessions(broadcaster)

    @property
    def asks(self) -> bool:
        """Whether handshakes have users or rights, which only the application can tell."""
        return self._access.asks

    def enter(self, handshake: Asked, rights: Rights | None = None) -> Entry:
        """Returns what to make of a handshake.

        Args:
            handshake: Its head.
            rights: What its user may do; None: everything that the key allows.

        Raises:
            CodedError: It names another host, comes from a page of one, brings a wrong key, or none to read with.
        """
        access = self._access
        access.check_site(handshake)
        if access.tokens is not None:  # the rights ask for the key, too
            operator = access.is_operator(handshake)  # by its key: a token may be followed by others
            return self._entry(handshake, may_publish=True, rights=rights, operator=operator)
        roles = access.roles(handshake)
        if rights is None and access.read is not Read.OPEN and Role.READ not in roles:
            raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)
        secret = bool(roles and access.keys)
        operator = secret and Role.OPERATE in roles
        may_publish = Role.PUBLISH in roles
        return self._entry(handshake, may_publish=may_publish, rights=rights, secret=secret, operator=operator)

    async def serve(self, websocket: WebSocket) -> None:
        """Makes a client of one WebSocket, or refuses it."""
        try:
            rights = None
            if self.asks or self._access.read is not Read.OPEN:
                self._access.check_site(websocket)  # before the application is asked who this is
                rights = await self._access.rights(websocket)
            entry = self.enter(websocket, rights)
            await self._admit(websocket, entry, rights, operator=self._access.is_operator(websocket, rights))
        except _REFUSALS as error:
            await turn_away(websocket, error, self._broadcaster.tally.reject)

    async def admit(self, websocket: WebSocket, rights: Rights) -> None:
        """Makes a client of a WebSocket of an application's own route, or refuses it. The route knows its user."""
        try:
            self._access.check_site(websocket)
            entry = self._entry(websocket, may_publish=True, rights=rights)
            await self._admit(websocket, entry, rights, operator=False)
        except _REFUSALS as error:
            await turn_away(websocket, error, self._broadcaster.tally.reject)

    def _entry(
        self,
        handshake: Asked,
        *,
        may_publish: bool,
        rights: Rights | None,
        secret: bool = False,
        operator: bool = False,
    ) -> Entry:
        if SUBPROTOCOL in handshake.scope.get("subprotocols", ()):
            serve = partial(self._serve_json, may_publish, rights or None, operator)
            greet = self._welcome if rights is None else partial(self._welcome_user, rights)
            return Entry(None, SUBPROTOCOL, JSON, serve, greet, secret=secret)
        channel = handshake.query_params.get("channel", self._default_channel)
        since, wanted = asked_beginning(handshake)
        if rights is None:  # else others are asked first
            if not self._rules.open and not self._broadcaster.shares:
                self._rules.check(channel, operator=operator)
            if wanted is not None:
                self._broadcaster.inspect.check_filter(channel, wanted, peer_of(handshake.scope))
        plain = partial(self._serve_plain, may_publish, rights or None, operator, channel)
        passing = not self._rules.open or wanted is not None
        return Entry(channel, None, PLAIN, plain, secret=secret, passing=passing, since=since, filter=wanted)

    async def _admit(self, websocket: WebSocket, entry: Entry, rights: Rights | None, *, operator: bool) -> None:
        if rights is not None and entry.channel is not None:
            await rights.check_all(entry.channel, *to_listen(entry.since))
        if entry.channel is not None and not self._rules.open:  # who may not listen is not told which channels exist
            await self._rules.check_everywhere(entry.channel, operator=operator)
        if entry.channel is not None and entry.filter is not None:
            self._broadcaster.inspect.check_filter(entry.channel, entry.filter, peer_of(websocket.scope))
        await attach(
            self._broadcaster,
            websocket,
            entry.begin,
            channel=entry.channel,
            since=entry.since,
            subprotocol=entry.subprotocol,
            dialect=entry.dialect,
            filter=entry.filter,
            user=None if rights is None else rights.user,
        )

    def _serve_plain(
        self, may_publish: bool, rights: Rights | None, operator: bool, channel: str, client: Client
    ) -> Work:
        if not self._rules.open:
            rights = self._rules.add_to(rights, operator=operator)
        before, after = self._before, self._after
        if self._namespaces and (template := self._namespaces.of(channel).options.template) is not None:
            before, after = (part.encode() for part in split_template(template))
        around = {"before": before, "after": after}
        return self._plain(
            self._broadcaster, client, channel=channel, may_publish=may_publish, rights=rights, **around
        ).work

    def _serve_json(self, may_publish: bool, rights: Rights | None, operator: bool, client: Client) -> Work:
        if not self._rules.open:
            rights = self._rules.add_to(rights, operator=operator)
        most = self._max_subscriptions
        return self._json(
            self._broadcaster, client, max_subscriptions=most, may_publish=may_publish, rights=rights
        ).work

    def _welcome(self, client: Client) -> None:
        welcome(self._broadcaster, client, max_subscriptions=self._max_subscriptions)

    def _welcome_user(self, rights: Rights, client: Client) -> None:
        """Welcomes a client; one whose token is due has 5 s for it."""
        expires_at = None if rights.user is None else rights.user.expires_at
        welcome(self._broadcaster, client, max_subscriptions=self._max_subscriptions, expires_at=expires_at)
        if isinstance(rights, TokenRights) and rights.is_due:
            self._broadcaster.expiries.set(client, time.time() + TOKEN_SECONDS, CloseReason.UNAUTHORISED)


def _json_sessions(broadcaster: Node) -> type[JsonSession]:
    if broadcaster.recordings.spans is None:
        return SharedJsonSession if broadcaster.shares else JsonSession
    from .tracing import TracedJsonSession, TracedSharedJsonSession  # noqa: PLC0415 - an extra

    return TracedSharedJsonSession if broadcaster.shares else TracedJsonSession


class PlainSession:
    """Publishes each message of a client to the channel that the client is on.

    Args:
        broadcaster: The node that has the channel.
        client: The client.
        channel: Its channel.
        before: What stands before each text.
        after: What stands behind it.
        may_publish: Whether the client has brought the key that publishing asks for.
        rights: Asked before each publication; None: nobody is asked.
    """

    __slots__ = ("_after", "_before", "_broadcaster", "_channel", "_client", "_may_publish", "_rights")

    def __init__(
        self,
        broadcaster: Node,
        client: Client,
        *,
        channel: str,
        before: bytes,
        after: bytes,
        may_publish: bool,
        rights: Rights | None = None,
    ) -> None:
        self._broadcaster = broadcaster
        self._client = client
        self._channel = channel
        self._before = before
        self._after = after
        self._rights = rights
        self._may_publish = None if may_publish and rights is not None else may_publish  # None: the rights are asked

    def work(self, kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        """Publishes a message, or closes the client; returns what to await before the next message, if anything."""
        if kind is _TEXT:
            data = self._before + data + self._after
        try:
            if not self._may_publish and (waits := self._ask()) is not None:
                return self._publish_after(waits, kind, data)
            publication, waits = self._broadcaster.append_in_turn(self._channel, kind, data)
        except (CodedError, MessageTooBigError) as error:
            self._broadcaster.client_failed(self._client, error)
            return None
        return waits if publication is not None else self._publish_after(waits, kind, data)

    def _ask(self) -> Coroutine[Any, Any, None] | None:
        """Returns what to await before a publication, if anything; raises CodedError if the client may not publish."""
        if self._rights is None or self._may_publish is False:
            raise CodedError(ErrorCode.UNAUTHORISED, KEY_REFUSED)
        return self._rights.check(Action.PUBLISH, self._channel)

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

    def __init__(self, broadcaster: Node, client: Client, **around: Any) -> None:
        super().__init__(broadcaster, client, **around)
        self._flight = Flight(lambda error: broadcaster.client_failed(client, error))

    def work(self, kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        """Publishes a message, or closes the client; returns what to await before the next message, if anything."""
        if kind is _TEXT:
            data = self._before + data + self._after
        try:
            if not self._may_publish and (waits := self._ask()) is not None:
                return self._submit_after(waits, kind, data)
            return self._submit(kind, data)
        except (CodedError, MessageTooBigError) as error:
            self._broadcaster.client_failed(self._client, error)
            return None

    def _submit(self, kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        future = self._broadcaster.sharing.submitter.submit(self._channel, kind, data)
        return self._flight.add(future, len(data), self._answer)

    async def _submit_after(self, waits: Awaitable[None], kind: Kind, data: bytes) -> None:
        await waits
        more = self._submit(kind, data)
        if more is not None:
            await more

    def at_once(self, texts: Sequence[bytes]) -> bool:
        """Hands texts to the engine together; returns False if none was, as they have to be looked at one by one."""
        before, after = self._before, self._after
        size = sum(map(len, texts)) + len(texts) * (len(before) + len(after))
        if not self._may_publish or not self._flight.has_room(len(texts), size):
            return False
        future = self._broadcaster.sharing.submitter.submit_all(
            self._channel, _TEXT, [before + text + after for text in texts]
        )
        if future is None:
            return False
        self._flight.add_all(future, size, self._answer, count=len(texts))
        return True

    def _answer(self, outcome: Position | FanwiseError) -> None:
        if isinstance(outcome, FanwiseError):
            self._client.close(CloseReason.BACKPLANE)  # the dialect has no other answer
