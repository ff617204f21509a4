"""The JSON dialect `fanwise.v1`: one connection, many channels. Each message of a client gets exactly one answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, assert_never

import orjson

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.publisher import serialise
from ..core.codes import CodedError, ErrorCode, code_of
from ..core.publication import Kind, Position
from ..errors import ChannelNameError, FanwiseError, GoneError
from ..transport.limits import Budget, budget_of
from ..version import SERVER_VERSION
from .json_models import OpError, Publish, Subscribe, Unsubscribe, check_size, parse_op


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


class JsonSession:
    """Answers one client of the JSON dialect.

    Args:
        broadcaster: The node that has the channels.
        client: The client that is answered.
        max_subscriptions: Channels that the client may be on at a time.
        may_publish: Whether the client has brought the key that publishing asks for.
        budget: The rates of the client's connection; None: unlimited.
    """

    def __init__(
        self,
        broadcaster: Node,
        client: Client,
        *,
        max_subscriptions: int,
        may_publish: bool,
        budget: Budget | None = None,
    ) -> None:
        self._broadcaster = broadcaster
        self._client = client
        self._max_subscriptions = max_subscriptions
        self._may_publish = may_publish
        self._budget = budget or budget_of({})
        self._max_bytes = broadcaster.max_message_bytes

    def welcome(self) -> None:
        """Sends the first message: the client's id, and its bounds."""
        self._send(
            op="welcome",
            client=self._client.id,
            version=SERVER_VERSION,
            max_message_bytes=self._broadcaster.max_message_bytes,
            max_subscriptions=self._max_subscriptions,
        )

    async def answer(self, kind: Kind, data: bytes) -> None:
        """Does an operation and sends its answer, or an error; waits while the client does not read its answers.

        An operation beyond the rates of the connection waits until the connection is within them.
        """
        try:
            if len(data) > self._max_bytes:
                check_size(data, max_bytes=self._max_bytes)
            await self._do(kind, data)
        except OpError as error:
            self._broadcaster.tally.reject(error.code)
            self._send(op="error", code=error.code, message=str(error), **error.about)
        except GoneError:
            return  # messages of a closed client may still be here; none is answered
        await self._client.outbox.settled()

    async def _do(self, kind: Kind, data: bytes) -> None:
        op = parse_op(data, kind)
        about: dict[str, str | int] = {"channel": op.channel}
        if isinstance(op, Publish) and op.id is not None:
            about["id"] = op.id
        try:
            if isinstance(op, Subscribe):
                if seconds := self._budget.subscribe():
                    await asyncio.sleep(seconds)
                await self._subscribe(op)
            elif isinstance(op, Unsubscribe):
                if seconds := self._budget.subscribe():
                    await asyncio.sleep(seconds)
                self._unsubscribe(op)
            elif isinstance(op, Publish):
                await self._publish(op, about)
            else:
                assert_never(op)
        except FanwiseError as error:
            code = code_of(error)
            if code is None or not code.in_dialect:
                raise
            if isinstance(error, ChannelNameError):
                about.pop("channel")  # it may be as long as a message
            raise OpError(code, str(error), about) from error

    async def _subscribe(self, op: Subscribe) -> None:
        subscriptions = self._client.subscriptions
        if op.channel not in subscriptions and len(subscriptions) >= self._max_subscriptions:
            raise CodedError(
                ErrorCode.TOO_MANY_SUBSCRIPTIONS, f"a connection may be on {self._max_subscriptions} channels at most"
            )
        since = Position(op.since.epoch, op.since.offset) if op.since is not None else None
        await self._broadcaster.subscribe_in_turn(self._client, op.channel, since=since)

    def _unsubscribe(self, op: Unsubscribe) -> None:
        if op.channel not in self._client.subscriptions:
            raise CodedError(ErrorCode.NOT_SUBSCRIBED, f"this connection is not on channel {op.channel[:64]!r}")
        self._broadcaster.unsubscribe(self._client, op.channel)
        self._send(op="unsubscribed", channel=op.channel)

    async def _publish(self, op: Publish, about: dict[str, str | int]) -> None:
        if not self._may_publish:
            raise CodedError(
                ErrorCode.UNAUTHORISED, "publishing asks for the server's key, which the handshake did not bring"
            )
        if seconds := self._budget.publish():
            await asyncio.sleep(seconds)
        kind, data = data_bytes(op.data, op.encoding)
        publication = await self._broadcaster.append(op.channel, kind, data, key=op.key)
        self._send(op="published", **about, epoch=publication.epoch, offset=publication.offset)

    def _send(self, **fields: object) -> None:
        self._client.send(orjson.dumps(fields))
