"""The publishing half of the client: messages without an answer yet."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ..core.publication import Position
from .codec import Direct, Event, Failure, Published, Welcome, encode_publish
from .errors import NotConnectedError, PresenceError, PublishError, UnconfirmedError
from .link import Link
from .presence import Presence, encode_presence

logger = logging.getLogger("fanwise.client")

_Answer: TypeAlias = Position | Presence | Failure | str  # a text: why there is none


class Uplink:
    """Sends messages and matches the answers to them. A `Listener` of a link that subscribes to nothing.

    A link of its own keeps answers from waiting behind messages that the program does not read.
    """

    def __init__(self) -> None:
        self._max_message_bytes = 0  # until the server has said it
        self._requests = itertools.count(1)
        # {request: its answer}, or why there is none
        self._in_flight: dict[int, asyncio.Future[_Answer]] = {}

    async def publish(
        self,
        link: Link,
        channel: str,
        data: Any,
        *,
        key: str | None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        acknowledge_seconds: float | None,
    ) -> Position:
        """Sends one message, in the order of the calls, and waits for its answer."""
        request = next(self._requests)
        about: dict[str, Any] = {"key": key, "tags": tags, "traceparent": traceparent}
        frame, size_bytes = encode_publish(channel, data, request=request, **about)
        try:
            async with asyncio.timeout(acknowledge_seconds):
                connection = await link.connected()
                if size_bytes > self._max_message_bytes:
                    message = f"the data has {size_bytes} bytes, {self._max_message_bytes} are allowed"
                    raise PublishError(channel=channel, code="too_big", message=message)
                result = await self._exchange(connection, request, frame)
        except TimeoutError as error:
            seconds = acknowledge_seconds or 0.0
            if self._in_flight.pop(request, None) is None:
                raise NotConnectedError(url=link.url, seconds=seconds, last=link.last_failure) from error
            raise UnconfirmedError(channel=channel, why=f"no answer within {seconds:g} seconds") from error
        finally:
            self._in_flight.pop(request, None)
        if isinstance(result, Position):
            return result
        if isinstance(result, Failure):
            raise PublishError(channel=channel, code=result.code, message=result.message)
        raise UnconfirmedError(channel=channel, why=str(result))

    async def presence(self, link: Link, channel: str, acknowledge_seconds: float | None) -> Presence:
        """Asks who is on a channel, and again on the next connection if one is lost before the answer."""
        request = next(self._requests)
        frame = encode_presence(channel, request)
        result: _Answer = ""
        try:
            async with asyncio.timeout(acknowledge_seconds):
                while isinstance(result, str):
                    result = await self._exchange(await link.connected(), request, frame)
        except TimeoutError as error:
            raise NotConnectedError(url=link.url, seconds=acknowledge_seconds or 0.0, last=link.last_failure) from error
        finally:
            self._in_flight.pop(request, None)
        if isinstance(result, Presence):
            return result
        if isinstance(result, Failure):
            raise PresenceError(channel=channel, code=result.code, message=result.message)
        raise PresenceError(channel=channel, code="internal", message=f"the server answered with {result}")

    async def _exchange(self, connection: ClientConnection, request: int, frame: str) -> _Answer:
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._in_flight[request] = answer
        try:
            await connection.send(frame)
        except ConnectionClosed as closed:  # some of it may have gone out before
            return str(closed)
        return await answer

    def welcomed(self, connection: ClientConnection, welcome: Welcome) -> None:  # noqa: ARG002 - the Listener's signature
        """Remembers what the server takes."""
        self._max_message_bytes = welcome.max_message_bytes

    async def take(self, event: Event, frame_characters: int) -> None:  # noqa: ARG002 - the Listener's signature
        """Hands an answer to its caller."""
        match event:
            case Published(request, position):
                self._answer(request, position)
            case Direct():
                pass  # the subscribing connection gets it too
            case Presence(request=request):
                self._answer(request, event)
            case Failure(request=request) if request is not None:
                self._answer(request, event)
            case _:
                logger.warning("the server sent %r to a connection that only publishes", event)

    def lost(self, why: str) -> None:
        """Messages in flight may or may not have arrived."""
        for request in list(self._in_flight):
            self._answer(request, why)

    def ended(self, error: Exception) -> None:
        """Nothing is in flight: `lost` came before. Callers that wait for a connection get the error from the link."""

    def _answer(self, request: int | str | None, result: _Answer) -> None:
        """Resolves the call with this request number; a late answer has no call any more."""
        answer = self._in_flight.get(request) if isinstance(request, int) else None
        if answer is not None and not answer.done():
            answer.set_result(result)
