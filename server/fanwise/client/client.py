"""The Python client: `from fanwise.client import FanwiseClient`. A program needs nothing else of Fanwise.

async with FanwiseClient("ws://127.0.0.1:8000/ws") as client:
    await client.subscribe("lobby")
    async for message in client:
        print(message.offset, message.data)
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random as random_module
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.typing import Subprotocol

from ..core.publication import Position, check_channel_name
from .authentication import Authentication
from .backoff import Backoff
from .batch import publish_all
from .codec import SUBPROTOCOL, Direct, Filter, Gap, Message
from .downlink import Downlink, Entry, Mailbox
from .errors import ClientError, ClosedError, SubscribeError
from .link import Link, Listener, State
from .presence import Change, Join, Leave, Member, Presence, PresenceGap
from .subscription import Item, Track
from .tokens import Token, Tokens, check_secret
from .uplink import Uplink

__all__ = [
    "ClientError",
    "Direct",
    "FanwiseClient",
    "Gap",
    "Join",
    "Leave",
    "Member",
    "Message",
    "Position",
    "Presence",
    "PresenceGap",
    "State",
]

logger = logging.getLogger("fanwise.client")

_Handled: TypeAlias = Awaitable[None] | None


def log_gap(gap: Gap) -> None:
    """The default of `on_gap`: logs a warning."""
    logger.warning("%s", gap)


class FanwiseClient:
    """A client that stays connected: after a loss it reconnects, and continues after its last message.

    Iterating over it yields each message of the subscribed channels once, in the order of each channel's log. `on_gap`
    is notified of missing offsets at their place in that order: messages and gaps together leave nothing out.
    Connections are opened when they are needed: one at the first `subscribe`, one at the first `publish`.

    Args:
        url: The address of the server: `ws://host:port/ws`, or `wss:` for TLS.
        api_key: Sent as `Authorization: Bearer`, if the server wants one for publishing.
        token: The user's token, or a function that fetches one and may be a coroutine function: called before the first
            connection and before the token's time ends, at most once at a time and for `open_seconds`. After an error
            of the function the client tries again, with backoff, unless the error is `RefusedError`.
        on_gap: Called with each gap, from within the iteration; may be a coroutine function. None: a warning.
        on_presence: Called with each `Join`, `Leave` and `PresenceGap`, for `subscribe(presence=True)`; as `on_gap`.
        on_direct: Called with each message to this client alone, while it is subscribed to a channel; as `on_gap`.
        queue_messages: Bound on the messages that wait for the program. At the bound reading stops, and the server's
            overflow policy decides.
        queue_bytes: Bound on the bytes that wait for the program.
        acknowledge_seconds: How long `subscribe` and `publish` wait for their answer, with connecting; None: unlimited.
        open_seconds: How long one attempt to connect may take, and then the server's first word.
        close_seconds: How long the closing handshake may take.
        max_frame_bytes: The largest frame that is taken; a larger one ends the client with 1009.
        backoff_base_seconds: Ceiling of the wait before the first attempt after a loss; doubles with each attempt.
        backoff_cap_seconds: Ceiling of all waits.
        random: Returns a number from 0 to 1, for the waits of backoff.
        sleep: Waits for so many seconds.
        clock: Now, in seconds: how long a connection lasted.
        connect_options: For `websockets.asyncio.client.connect`: `ssl`, `proxy`, `ping_interval`...
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        token: Token | None = None,
        on_gap: Callable[[Gap], _Handled] | None = None,
        on_presence: Callable[[Change], _Handled] | None = None,
        on_direct: Callable[[Direct], _Handled] | None = None,
        queue_messages: int = 1024,
        queue_bytes: int = 1_048_576,
        acknowledge_seconds: float | None = 10.0,
        open_seconds: float = 10.0,
        close_seconds: float = 2.0,
        max_frame_bytes: int = 16_777_216,
        backoff_base_seconds: float = 0.5,
        backoff_cap_seconds: float = 30.0,
        random: Callable[[], float] = random_module.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        **connect_options: Any,
    ) -> None:
        self.url = url
        self._on_gap, self._on_presence, self._on_direct = on_gap or log_gap, on_presence, on_direct
        self._acknowledge_seconds = acknowledge_seconds
        timeouts = {"open_timeout": open_seconds, "close_timeout": close_seconds, "max_size": max_frame_bytes}
        self._connect_options = {**timeouts, **_connect_options(api_key, token, connect_options)}
        backoff = partial(Backoff, base_seconds=backoff_base_seconds, cap_seconds=backoff_cap_seconds, random=random)
        self._tokens: Tokens | None = None
        if token is not None:
            self._tokens = Tokens(token, backoff=backoff(), fetch_seconds=open_seconds, clock=clock, random=random)
        link = partial(self._link, backoff, sleep=sleep, clock=clock, welcome_seconds=open_seconds)
        self._mailbox = Mailbox(queue_messages=queue_messages, queue_bytes=queue_bytes)
        self._downlink, self._uplink = Downlink(self._mailbox), Uplink()
        self._down, self._up = link(self._downlink), link(self._uplink)
        self._closed = False

    @property
    def state(self) -> State:
        """The state of the subscriptions' connection."""
        return self._down.state

    @property
    def positions(self) -> dict[str, Position]:
        """{channel: position of the program}: store a position, and give it to `subscribe` as `since` later.

        The message that the iteration handed out last is included, what waits in the queue is not.
        """
        tracks = self._downlink.tracks.values()
        return {track.channel: track.handed for track in tracks if track.handed is not None}

    async def subscribe(
        self,
        channel: str,
        *,
        since: Position | None = None,
        last: int | None = None,
        filter: Filter | None = None,
        presence: bool = False,
    ) -> Position:
        """Subscribes to a channel, and again on every later connection, until `unsubscribe`.

        Args:
            channel: The channel's name.
            since: Begins after this position, as far as the server still can; by default at the channel's head.
            last: Begins so many publications before the head; not together with `since`.
            filter: Tags that a publication must have, each with a value or one of several; what is left out is
                no gap.
            presence: Calls `on_presence` with the users that join and leave the channel.

        Returns:
            The position at which the stream begins.

        Raises:
            ChannelNameError: The name is not allowed.
            SubscribeError: The server refused, or the channel is subscribed already.
            NotConnectedError: No answer in time.
            RefusedError: The server refused the connection.
            ClosedError: The client is closed. After any of these errors the channel is not subscribed.
        """
        check_channel_name(channel)
        if channel in self._downlink.tracks:
            raise SubscribeError(channel=channel, code="already_subscribed", message="it is subscribed already")
        track = Track(channel, since, last=last, wanted=filter, presence=presence)
        self._down.start()
        return await self._downlink.subscribe(self._down, track, self._acknowledge_seconds)

    async def unsubscribe(self, channel: str) -> None:
        """Ends a subscription: no message of the channel is handed out after this, waiting ones included.

        Raises:
            SubscribeError: The channel is not subscribed.
        """
        track = self._downlink.tracks.get(channel)
        if track is None:
            raise SubscribeError(channel=channel, code="not_subscribed", message="it is not subscribed")
        self._downlink.drop(track)

    async def publish(
        self,
        channel: str,
        data: Any,
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
    ) -> Position:
        """Publishes one message; any number of calls may be under way, and they are sent in their order.

        Args:
            channel: The channel's name.
            data: `str`, any other JSON value, or `bytes` to publish it as binary. NaN becomes null.
            key: What the message is the newest state of, for clients that get only the newest of each key.
            tags: Names and values that subscriptions with a filter look at.
            traceparent: The span that the message belongs to (W3C Trace Context), for servers that trace.

        Returns:
            The message's position in the channel's log.

        Raises:
            ChannelNameError: The name is not allowed.
            PublishError: The server refused the message, or the message cannot be sent.
            UnconfirmedError: The message was sent, but no answer came: it may or may not have been published.
            NotConnectedError: There was no connection in time. Not published, as with the next two.
            RefusedError: The server refused the connection.
            ClosedError: The client is closed.
        """
        check_channel_name(channel)
        self._up.start()
        about: dict[str, Any] = {"key": key, "tags": tags, "traceparent": traceparent}
        return await self._uplink.publish(
            self._up, channel, data, **about, acknowledge_seconds=self._acknowledge_seconds
        )

    async def publish_many(
        self,
        channel: str,
        messages: Iterable[Any],
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
    ) -> list[Position]:
        """Publishes messages in their order, up to 256 at a time without an answer; returns their positions.

        Raises:
            BatchError: A message was not published, or may not have been; the last ones were not sent.
        """
        return await publish_all(partial(self.publish, channel, key=key, tags=tags, traceparent=traceparent), messages)

    async def presence(self, channel: str) -> Presence:
        """Returns the users on a channel.

        Raises:
            ChannelNameError: The name is not allowed.
            PresenceError: The server refused.
            NotConnectedError: No answer in time.
            RefusedError: The server refused the connection.
            ClosedError: The client is closed.
        """
        check_channel_name(channel)
        self._up.start()
        return await self._uplink.presence(self._up, channel, self._acknowledge_seconds)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """The next message. Cancelling this call loses nothing.

        Raises:
            SubscribeError: A channel could not be subscribed again after a reconnect; go on iterating for the others.
            ClosedError: The server said not to come back, after the last message that came before.
            RefusedError: The server refused the connection.
            DialectError: The server does not speak the dialect.
        """
        while True:
            try:
                item = await self.receive()
            except ClosedError:
                if self._closed:
                    raise StopAsyncIteration from None
                raise
            if isinstance(item, Message):
                return item
            result = self._handle(item)
            if inspect.isawaitable(result):
                await result

    async def receive(self) -> Item | Direct:
        """Returns what comes next: a message, a gap, a change of presence or a direct message. No function is called.

        Cancelling this call loses nothing. Raises what the iteration raises, and ClosedError for a client that the
        program has closed.
        """
        while True:
            item = self._pick(*await self._mailbox.get())
            if isinstance(item, SubscribeError):
                raise item
            if item is not None:
                return item

    def received(self, most: int) -> list[Item | Direct | SubscribeError]:
        """Returns what waits already, `most` items at most, in the order in which `receive` returns or raises them."""
        items: list[Item | Direct | SubscribeError] = []
        while len(self._mailbox) and len(items) < most:
            item = self._pick(*self._mailbox.pop())
            if item is not None:
                items.append(item)
        return items

    def _pick(self, track: Track | None, item: Entry) -> Entry | None:
        """Returns an item that the program gets; None for one of a channel that was given up while the item waited."""
        if isinstance(item, SubscribeError | Direct):
            return item
        if track is None or self._downlink.tracks.get(track.channel) is not track:
            return None
        track.hand(item)
        return item

    def _handle(self, item: Gap | Change | Direct) -> _Handled:
        match item:
            case Gap():
                return self._on_gap(item)
            case Direct():
                return self._on_direct and self._on_direct(item)
            case _:
                return self._on_presence and self._on_presence(item)

    async def close(self) -> None:
        """Closes the connections with 1000; iteration ends, and waiting messages are dropped."""
        self._closed = True
        # First, so that the reader is not held up by a full mailbox: it has to read the server's answer to the close.
        self._mailbox.end(ClosedError(code=1000, reason="closed by this client"), discard=True)
        await asyncio.gather(self._down.close(), self._up.close())
        if self._tokens:
            await self._tokens.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _link(self, backoff: Callable[[], Backoff], listener: Listener, **options: Any) -> Link:
        if not self._tokens:
            return Link(self.url, self._connect, listener, backoff=backoff(), **options)
        authentication = Authentication(listener, self._tokens, self._connect)
        return Link(self.url, authentication.open, authentication, backoff=backoff(), **options)

    async def _connect(self, token: str | None = None) -> ClientConnection:
        options = self._connect_options
        if token is not None:
            headers = Headers(options["additional_headers"])
            headers["Authorization"] = f"Bearer {token}"
            options = {**options, "additional_headers": headers}
        return await connect(self.url, **options)


def _connect_options(api_key: str | None, token: Token | None, more: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of `connect`: `more` wins over all but the headers.

    Raises:
        ValueError: The key does not fit into a header, or there is a token as well.
    """
    headers = Headers(more.get("additional_headers") or {})
    if api_key is not None:
        if token is not None:
            raise ValueError("api_key and token both say who the client is: give one")
        headers["Authorization"] = f"Bearer {check_secret('API key', api_key)}"
    # Compression would cost the server memory and time for each client.
    return {"subprotocols": [Subprotocol(SUBPROTOCOL)], "compression": None, **more, "additional_headers": headers}
