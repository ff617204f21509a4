"""Turns a Starlette or FastAPI `WebSocket` into a client: over our protocol class if it is in use, else over ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from typing import Any, Final, TypeAlias

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ..broadcaster.client import Client
from ..broadcaster.node import Node
from ..broadcaster.sink import EXTENSION, Offer, Sink, Source, Work
from ..core.dialect import PLAIN, Dialect
from ..core.filters import Filter
from ..core.publication import Beginning, Kind, check_channel_name
from ..core.reasons import CloseReason
from ..core.rights import User
from ..errors import (
    AlreadyConnectedError,
    BackplaneDownError,
    ChannelFullError,
    ChannelLimitError,
    DrainingError,
    FilterLimitError,
    FullError,
    NoChannelError,
)
from ..logs.events import Event, log
from .addresses import peer_name
from .asgi import AsgiConnection

_NO_PLACE: Final[Mapping[type[Exception], CloseReason]] = {
    BackplaneDownError: CloseReason.BACKPLANE,
    ChannelFullError: CloseReason.FULL,
    ChannelLimitError: CloseReason.FULL,
    DrainingError: CloseReason.SHUTDOWN,
    FilterLimitError: CloseReason.FULL,
    FullError: CloseReason.FULL,
    NoChannelError: CloseReason.REFUSED,
}
OnMessage: TypeAlias = Callable[[Client, str | bytes], Coroutine[Any, Any, None] | None]
"""Works on one message of a client."""
_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum
_CLIENT_KEY = "fanwise.client"  # in the scope of a WebSocket that is a client


@asynccontextmanager
async def connect(
    broadcaster: Node,
    websocket: WebSocket,
    *,
    channel: str | None = None,
    since: Beginning | None = None,
    subprotocol: str | None = None,
    dialect: Dialect = PLAIN,
    user: User | None = None,
    filter: Filter | None = None,
) -> AsyncIterator[Client]:
    """Accepts `websocket`, unless that was done, and makes it a client of `user` while the context lasts.

    With a `channel` it is on that from the start, from `since` on or at the head, and gets what `filter` lets through.

    Raises:
        ChannelLimitError: There is no room for another channel.
        ChannelNameError: The channel's name is not allowed; the WebSocket was not accepted.
        DrainingError: The server is about to stop; the WebSocket was not accepted.
        FilterLimitError: The channel's clients have too many other filters.
        FullError: All places are taken; the WebSocket was not accepted.
        AlreadyConnectedError: The WebSocket is a client already.
        NotRunningError: The broadcaster was not started.
    """
    await _accept(broadcaster, websocket, channel, since, subprotocol)
    sink, listen = _open(websocket)
    about: dict[str, Any] = {"channel": channel, "since": since, "dialect": dialect, "user": user, "filter": filter}
    async with (
        _told_of_refusals(websocket),
        broadcaster.client(sink, listen, address=peer_name(websocket), **about) as client,
    ):
        yield client


async def attach(
    broadcaster: Node,
    websocket: WebSocket,
    serve: Callable[[Client], Work],
    *,
    channel: str | None = None,
    since: Beginning | None = None,
    subprotocol: str | None = None,
    dialect: Dialect = PLAIN,
    user: User | None = None,
    filter: Filter | None = None,
) -> None:
    """Accepts `websocket` like `connect`, and makes it a client that stays when this returns.

    `serve` is called with the client, and returns what works on its messages. Over our protocol class the client has no
    task then. Otherwise this returns when the client has ended.
    """
    await _accept(broadcaster, websocket, channel, since, subprotocol)
    offer = _offer(websocket)
    about: dict[str, Any] = {"channel": channel, "since": since, "dialect": dialect, "user": user, "filter": filter}
    about["address"] = peer_name(websocket)
    async with _told_of_refusals(websocket):
        if offer is not None and offer.connection is not None:
            if channel is not None and broadcaster.shares:  # again: it may have been forgotten meanwhile
                await broadcaster.sharing.ready(channel, since)
            client = broadcaster.add_client(offer.connection, **about)
            failed, heard = partial(broadcaster.client_failed, client), broadcaster.listener(client)
            offer.detach(serve(client), failed=failed, heard=heard)
            return
        sink, listen = _open(websocket)
        async with broadcaster.client(sink, listen, **about) as client:
            work = serve(client)
            async for kind, data in client.received():
                waits = work(kind, data)
                if waits is not None:
                    await waits


def working(on_message: OnMessage, client: Client) -> Work:
    """Returns what works on the messages of `client`: text as str, and binary as bytes."""

    def work(kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        return on_message(client, data.decode() if kind is _TEXT else data)

    return work


async def _accept(
    broadcaster: Node, websocket: WebSocket, channel: str | None, since: Beginning | None, subprotocol: str | None
) -> None:
    if channel is not None:
        check_channel_name(channel)
    broadcaster.check_room()
    if channel is not None and broadcaster.shares:
        await broadcaster.sharing.ready(channel, since)
    if _CLIENT_KEY in websocket.scope:
        raise AlreadyConnectedError
    websocket.scope[_CLIENT_KEY] = True
    if websocket.application_state is WebSocketState.CONNECTING:
        await websocket.accept(subprotocol)


@asynccontextmanager
async def _told_of_refusals(websocket: WebSocket) -> AsyncIterator[None]:
    """Closes a WebSocket for which there was no place any more when its handshake was answered."""
    try:
        yield
    except tuple(_NO_PLACE) as error:
        reason = _NO_PLACE[type(error)]
        await close_if_open(websocket, reason.code, reason.text)
        raise


async def close_if_open(websocket: WebSocket, code: int, text: str) -> None:
    """Closes an accepted WebSocket, unless it was closed already, as a client or by its peer."""
    if websocket.application_state is WebSocketState.CONNECTED:
        with suppress(WebSocketDisconnect, OSError):
            await websocket.close(code, text)


def _offer(websocket: WebSocket) -> Offer | None:
    offer: Offer | None = websocket.scope.get("extensions", {}).get(EXTENSION)
    return offer


def _open(websocket: WebSocket) -> tuple[Sink, Callable[..., Source]]:
    offer = _offer(websocket)
    if offer is not None and offer.connection is not None:
        return offer.connection, offer.listen
    hint_at_the_fast_path()
    fallback = AsgiConnection(websocket)
    return fallback, fallback.listen


@cache
def hint_at_the_fast_path() -> None:
    """Logs, at its first call, how to get the fast path."""
    log(Event.SLOW_PATH)
