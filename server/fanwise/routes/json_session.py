"""The JSON dialect `fanwise.v1`: one connection, many channels. Each message of a client gets exactly one answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, TypeAlias

import orjson

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.publisher import serialise
from ..broadcaster.turns import SharedTurn
from ..core.codes import CodedError, ErrorCode, code_of
from ..core.publication import Kind, Position, beginning
from ..core.reasons import CloseReason
from ..core.rights import Action, Rights
from ..errors import ChannelNameError, FanwiseError, GoneError
from ..transport.limits import budget_of_sink
from ..version import SERVER_VERSION
from .auth.credentials import TOKEN_OPERATIONS, TokenRights
from .beginnings import to_listen
from .flight import Flight
from .json_models import (
    AskPresence,
    Authenticate,
    OpError,
    Publish,
    Subscribe,
    Unsubscribe,
    UsualPublish,
    parse_op,
)
from .json_size import LARGE_BYTES, check_size, check_structure, parse_seconds
from .presence_json import MOST_MEMBERS, presence_json

_WITH_ID: Final = (Publish, UsualPublish, AskPresence)
NO_KEY: Final = "publishing asks for the server's key, which the handshake did not bring"
NO_TOKENS: Final = "this connection takes no tokens: its handshake said who this is, if that was asked"
Operation: TypeAlias = Subscribe | Unsubscribe | Publish | UsualPublish | AskPresence | Authenticate


def data_bytes(data: Any, encoding: str | None) -> tuple[Kind, bytes]:
    """Returns the payload in `data` of a message, and its kind: binary if it is in base64.

    Raises:
        CodedError: It is not base64.
        PayloadError: It is nested too deeply.
    """
    if encoding is None:
        return serialise(data)
    if not isinstance(data, str):
        raise CodedError(ErrorCode.WRONG_TYPE, 'data: with "encoding": "base64" it is a string')
    try:
        return Kind.BINARY, base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CodedError(ErrorCode.WRONG_TYPE, f"data: it is not base64: {error}") from error


def welcome(broadcaster: Node, client: Client, *, max_subscriptions: int, expires_at: float | None = None) -> None:
    """Sends the first message of a connection: the client's id, its bounds, and when it ends, if that is known."""
    fields: dict[str, object] = {
        "op": "welcome",
        "client": client.id,
        "version": SERVER_VERSION,
        "max_message_bytes": broadcaster.max_message_bytes,
        "max_subscriptions": max_subscriptions,
    }
    if expires_at is not None:
        fields["expires_in"] = seconds_to(expires_at)
    client.answer(orjson.dumps(fields))


def seconds_to(unix_seconds: float) -> float:
    """Returns the seconds from now to a time, to a thousandth; 0 for one that is over."""
    return max(0.0, round(unix_seconds - time.time(), 3))


class JsonSession:
    """Answers one client of the JSON dialect.

    Args:
        broadcaster: The node that has the channels.
        client: The client that is answered.
        max_subscriptions: Channels that the client may be on at a time.
        may_publish: Whether the client has brought the key that publishing asks for.
        rights: Asked before each subscription and publication; None: nobody is asked.
    """

    __slots__ = (
        "_broadcaster",
        "_budget",
        "_client",
        "_large_bytes",
        "_max_bytes",
        "_max_subscriptions",
        "_may_publish",
        "_rights",
    )

    def __init__(
        self,
        broadcaster: Node,
        client: Client,
        *,
        max_subscriptions: int,
        may_publish: bool,
        rights: Rights | None = None,
    ) -> None:
        self._broadcaster = broadcaster
        self._client = client
        self._max_subscriptions = max_subscriptions
        self._rights = rights
        self._may_publish = None if may_publish and rights is not None else may_publish  # None: the rights are asked
        self._budget = budget_of_sink(client.sink)
        self._max_bytes = broadcaster.max_message_bytes
        self._large_bytes = min(LARGE_BYTES, self._max_bytes)

    def work(self, kind: Kind, data: bytes, *, in_turn: bool = False) -> Coroutine[Any, Any, None] | None:
        """Does an operation and sends its answer, or an error; returns what to await before the next one, if anything.

        An operation beyond the rates of the connection waits until the connection is within them, and a client that
        does not read its answers until it has. Large messages of all clients share 1 ms of a turn of the event loop.
        """
        op: Operation | None = None
        try:
            if len(data) > self._large_bytes:
                if not in_turn and (turn := SharedTurn()).over_for(parse_seconds(len(data))):
                    return self._work_in_turn(turn, kind, data)
                check_size(data, max_bytes=self._max_bytes)
                check_structure(data)
            op = parse_op(data, kind)
            waits = self._do(op)
        except GoneError:
            return None  # messages of a closed client may still be here; none is answered
        except FanwiseError as error:
            self._refuse(error, op)
            waits = None
        if waits is not None:
            return self._finish(op, waits)
        return self._client.outbox.settled() if self._client.outbox.clogged else None

    async def _work_in_turn(self, turn: SharedTurn, kind: Kind, data: bytes) -> None:
        await turn.give_way(parse_seconds(len(data)))
        waits = self.work(kind, data, in_turn=True)
        if waits is not None:
            await waits

    async def _finish(self, op: Operation | None, waits: Coroutine[Any, Any, None]) -> None:
        try:
            await waits
        except GoneError:
            return
        except FanwiseError as error:
            self._refuse(error, op)
        if self._client.outbox.clogged:
            await self._client.outbox.settled()

    def _do(self, op: Operation) -> Coroutine[Any, Any, None] | None:
        if op.op == "publish":
            if not self._may_publish:
                return self._ask_to_publish(op)
            seconds = self._budget.publish()
            return self._publish_after(asyncio.sleep(seconds), op) if seconds else self._publish(op)
        seconds = self._budget.subscribe()
        if op.op == "subscribe":
            return self._subscribe_after(seconds, op) if seconds else self._subscribe(op)
        if op.op != "unsubscribe":
            return self._presence_after(seconds, op) if op.op == "presence" else self._authenticate(op)
        if seconds:
            return self._unsubscribe_after(seconds, op)
        self._unsubscribe(op)
        return None

    def _ask_to_publish(self, op: Publish | UsualPublish) -> Coroutine[Any, Any, None] | None:
        """Publishes what the key, and the rights at this time, allow."""
        if self._rights is None or self._may_publish is False:
            raise CodedError(ErrorCode.UNAUTHORISED, NO_KEY)
        seconds = self._budget.publish()
        waits = self._rights.check(Action.PUBLISH, op.channel)
        if seconds:
            return self._publish_after(_both(asyncio.sleep(seconds), waits), op)
        return self._publish(op) if waits is None else self._publish_after(waits, op)

    async def _publish_after(self, waits: Awaitable[None] | None, op: Publish | UsualPublish) -> None:
        if waits is not None:
            await waits
        more = self._publish(op)
        if more is not None:
            await more

    async def _subscribe_after(self, seconds: float, op: Subscribe) -> None:
        await asyncio.sleep(seconds)
        await self._subscribe(op)

    async def _unsubscribe_after(self, seconds: float, op: Unsubscribe) -> None:
        await asyncio.sleep(seconds)
        self._unsubscribe(op)

    def _refuse(self, error: FanwiseError, op: Operation | None) -> None:
        """Counts an error and answers with it, if the mistake is the peer's; raises it otherwise."""
        code = code_of(error)
        if code is None or not code.in_dialect:
            raise error
        about: dict[str, str | int] = error.about if isinstance(error, OpError) else {}
        if op is not None and op.op != "authenticate" and not isinstance(error, ChannelNameError):
            about["channel"] = op.channel  # a wrong name may be as long as a message
        if isinstance(op, _WITH_ID) and op.id is not None:
            about["id"] = op.id
        self._broadcaster.tally.reject(code)
        self._send(op="error", code=code, message=str(error), **about)
        if isinstance(self._rights, TokenRights) and self._rights.is_due and (op is None or op.op != "authenticate"):
            self._client.close(CloseReason.UNAUTHORISED)  # the first message has to bring the token

    async def _subscribe(self, op: Subscribe) -> None:
        subscriptions = self._client.subscriptions
        if op.channel not in subscriptions and len(subscriptions) >= self._max_subscriptions:
            raise CodedError(
                ErrorCode.TOO_MANY_SUBSCRIPTIONS, f"a connection may be on {self._max_subscriptions} channels at most"
            )
        since = Position(op.since.epoch, op.since.offset) if op.since is not None else None
        begin, wanted = beginning(since, op.last, op.filter)
        if self._rights is not None:
            await self._rights.check_all(op.channel, *to_listen(begin))
        if op.presence:
            self._broadcaster.presence.check(op.channel, events=True)
            await self._check(Action.PRESENCE, op.channel)
        await self._broadcaster.subscribe_in_turn(self._client, op.channel, since=begin, filter=wanted)
        if op.presence:
            self._broadcaster.presence.watch(self._client, op.channel)

    async def _presence_after(self, seconds: float, op: AskPresence) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        await self._check(Action.PRESENCE, op.channel)
        found = await self._broadcaster.presence(op.channel, limit=MOST_MEMBERS)
        asked: dict[str, str | int] = {} if op.id is None else {"id": op.id}
        self._client.answer(await presence_json(found, op="presence", **asked))

    async def _check(self, action: Action, channel: str) -> None:
        if self._rights is not None:
            await self._rights.check_all(channel, action)

    def _unsubscribe(self, op: Unsubscribe) -> None:
        if op.channel not in self._client.subscriptions:
            raise CodedError(ErrorCode.NOT_SUBSCRIBED, f"this connection is not on channel {op.channel[:64]!r}")
        self._broadcaster.unsubscribe(self._client, op.channel)
        self._send(op="unsubscribed", channel=op.channel)

    async def _authenticate(self, op: Authenticate) -> None:
        """Goes on with the rights of another token: channels that it does not name are left."""
        rights, client = self._rights, self._client
        if not isinstance(rights, TokenRights):
            raise CodedError(ErrorCode.UNAUTHORISED, NO_TOKENS)
        await asyncio.sleep(self._budget.subscribe(TOKEN_OPERATIONS))
        user = await rights.authenticate(op.token)
        self._broadcaster.presence.identify(client, user)
        self._broadcaster.expiries.set(client, user.expires_at)
        await self._leave_forbidden(rights)
        expires_in = 0.0 if user.expires_at is None else seconds_to(user.expires_at)
        self._send(op="authenticated", user=user.id, expires_in=expires_in)

    async def _leave_forbidden(self, rights: TokenRights) -> None:
        """Leaves the channels that the token does not name, and then those on which the application says no."""
        subscriptions, watches = self._client.subscriptions, self._broadcaster.presence.watches
        for channel in list(subscriptions):
            if not rights.token_allows(Action.SUBSCRIBE, channel):
                self._leave(channel)
        for channel in list(subscriptions):
            held = [Action.SUBSCRIBE, *([Action.PRESENCE] if watches(self._client, channel) else [])]
            try:
                await rights.check_all(channel, *held)
            except FanwiseError:  # also where it cannot be said: what is not allowed ends
                self._leave(channel)

    def _leave(self, channel: str) -> None:
        if channel in self._client.subscriptions:  # the client may have been closed meanwhile
            self._broadcaster.unsubscribe(self._client, channel)
            self._send(op="unsubscribed", channel=channel)

    def _publish(self, op: Publish | UsualPublish) -> Coroutine[Any, Any, None] | None:
        kind, data = data_bytes(op.data, op.encoding)
        publication, waits = self._broadcaster.append_in_turn(op.channel, kind, data, op.key, op.tags)
        if publication is None:
            return self._publish_after(waits, op)
        answer: dict[str, object] = {"op": "published", "channel": op.channel}
        if op.id is not None:
            answer["id"] = op.id
        answer["epoch"], answer["offset"] = publication.epoch, publication.offset
        self._client.answer(orjson.dumps(answer))
        if type(op) is Publish and not op.echo:
            self._broadcaster.exclude(self._client, publication)
        return waits

    def _send(self, **fields: object) -> None:
        self._client.answer(orjson.dumps(fields))


async def _both(first: Awaitable[None], second: Awaitable[None] | None) -> None:
    await first
    if second is not None:
        await second


class SharedJsonSession(JsonSession):
    """Answers one client of the JSON dialect. Publications wait together; other operations wait for them.

    Takes what `JsonSession` takes.
    """

    __slots__ = ("_flight",)

    def __init__(self, broadcaster: Node, client: Client, **bounds: Any) -> None:
        super().__init__(broadcaster, client, **bounds)
        self._flight = Flight(lambda error: broadcaster.client_failed(client, error))

    def _do(self, op: Operation) -> Coroutine[Any, Any, None] | None:
        return self._do_after(op) if op.op != "publish" and self._flight else super()._do(op)

    async def _do_after(self, op: Operation) -> None:
        await self._flight.landed()
        waits = super()._do(op)
        if waits is not None:
            await waits

    def _publish(self, op: Publish | UsualPublish) -> Coroutine[Any, Any, None] | None:
        kind, data = data_bytes(op.data, op.encoding)
        exclude = self._client.id if type(op) is Publish and not op.echo else None
        future = self._broadcaster.sharing.submitter.submit(
            op.channel, kind, data, op.key, tags=op.tags, exclude=exclude
        )

        def answer(outcome: Position | FanwiseError) -> None:
            if isinstance(outcome, FanwiseError):
                super(SharedJsonSession, self)._refuse(outcome, op)
            else:
                fields: dict[str, object] = {"op": "published", "channel": op.channel}
                named = fields if op.id is None else {**fields, "id": op.id}
                self._client.answer(orjson.dumps({**named, "epoch": outcome.epoch, "offset": outcome.offset}))

        return self._flight.add(future, len(data), answer)

    def _refuse(self, error: FanwiseError, op: Operation | None) -> None:
        refuse = super()._refuse
        if self._flight:
            self._flight.add(error, 0, lambda _: refuse(error, op))  # answers before it come first
        else:
            refuse(error, op)
