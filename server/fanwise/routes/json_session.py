"""The JSON dialect `fanwise.v1`: one connection, many channels. Each message of a client gets exactly one answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, TypeAlias

import orjson

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.publisher import serialise
from ..core.codes import CodedError, ErrorCode, code_of
from ..core.publication import Kind, Position
from ..errors import ChannelNameError, FanwiseError, GoneError
from ..transport.limits import Budget, budget_of
from ..version import SERVER_VERSION
from .json_models import OpError, Publish, Subscribe, Unsubscribe, UsualPublish, check_size, parse_op

Operation: TypeAlias = Subscribe | Unsubscribe | Publish | UsualPublish


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
        op: Operation | None = None
        try:
            if len(data) > self._max_bytes:
                check_size(data, max_bytes=self._max_bytes)
            op = parse_op(data, kind)
            if op.op == "publish":
                await self._publish(op)
            else:
                if seconds := self._budget.subscribe():
                    await asyncio.sleep(seconds)
                if op.op == "subscribe":
                    await self._subscribe(op)
                else:
                    self._unsubscribe(op)
        except GoneError:
            return  # messages of a closed client may still be here; none is answered
        except FanwiseError as error:
            self._refuse(error, op)
        if self._client.outbox.clogged:
            await self._client.outbox.settled()

    def _refuse(self, error: FanwiseError, op: Operation | None) -> None:
        """Counts an error and answers with it, if the mistake is the peer's; raises it otherwise."""
        code = code_of(error)
        if code is None or not code.in_dialect:
            raise error
        about: dict[str, str | int] = error.about if isinstance(error, OpError) else {}
        if op is not None and not isinstance(error, ChannelNameError):  # whose channel may be as long as a message
            about["channel"] = op.channel
        if op is not None and op.op == "publish" and op.id is not None:
            about["id"] = op.id
        self._broadcaster.tally.reject(code)
        self._send(op="error", code=code, message=str(error), **about)

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

    async def _publish(self, op: Publish | UsualPublish) -> None:
        if not self._may_publish:
            raise CodedError(
                ErrorCode.UNAUTHORISED, "publishing asks for the server's key, which the handshake did not bring"
            )
        if seconds := self._budget.publish():
            await asyncio.sleep(seconds)
        kind, data = data_bytes(op.data, op.encoding)
        publication = await self._broadcaster.append(op.channel, kind, data, key=op.key)
        answer: dict[str, object] = {"op": "published", "channel": op.channel}
        if op.id is not None:
            answer["id"] = op.id
        answer["epoch"], answer["offset"] = publication.epoch, publication.offset
        self._client.send(orjson.dumps(answer))

    def _send(self, **fields: object) -> None:
        self._client.send(orjson.dumps(fields))
