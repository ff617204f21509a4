"""The broadcaster as a FastAPI application holds it: in place of a list of clients and a loop over it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any, TypeAlias

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from .broadcaster.client import Client
from .broadcaster.heap import trimmed_heap
from .broadcaster.node import Node
from .broadcaster.sink import Work
from .broadcaster.sweep import OsWriter
from .broadcaster.trace_file import traced
from .core.publication import Kind, Position
from .core.rights import Allow, Rights, User, as_user
from .logs.events import Event, log
from .routes.auth.guards import Access
from .routes.problems import answer_errors, handle_errors
from .routes.router import build_router
from .routes.sse import EventStreamEndpoint
from .routes.websocket import DEFAULT_CHANNEL, WebSocketEndpoint
from .transport.connect import attach, connect
from .transport.sweep_writer import Mode, open_writer

OnMessage: TypeAlias = Callable[[Client, str | bytes], Coroutine[Any, Any, None] | None]
"""Works on one message of a client."""
_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum


@dataclass(kw_only=True, eq=False, repr=False)
class Broadcaster(Node):
    """A node with what FastAPI needs: `lifespan`, `connect()` and `router`.

    Args, beside those of `Node`:
        sweep: How sweeps write to sockets: "uring" (io_uring(7)), "write" (write(2)), or "auto": io_uring where the
            kernel passes a probe. Entering `lifespan` raises OSError if "uring" cannot be had.
        trim_heap: Whether `lifespan` gives free memory of the process back to the kernel every 10 s, in a thread, where
            the C library is glibc. Without that, a process stays as large as it has ever been.
        access: Hosts, pages, key and rights that the ready-made routes, `serve` and `stream` ask for; by default the
            pages of the server's own host, and everybody.
        trace: A file that `lifespan` writes a trace to, of 256 MiB at most; None: no file. Entering raises OSError if
            the file cannot be opened.

    Example:
        broadcaster = Broadcaster()
        app = FastAPI(lifespan=broadcaster.lifespan)

        @app.websocket("/ws")
        async def endpoint(websocket: WebSocket):
            async with broadcaster.connect(websocket, channel="lobby") as client:
                async for text in client:
                    await broadcaster.publish("lobby", f"Message: {text}")
    """

    sweep: Mode = "auto"
    trim_heap: bool = True
    trace: str | None = None
    access: Access = field(default_factory=Access)

    def __post_init__(self) -> None:
        """Composes the broadcaster."""
        if self.open_writer is OsWriter:
            self.open_writer = partial(open_writer, self.sweep)
        super().__post_init__()

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Runs the broadcaster while the application runs: `FastAPI(lifespan=broadcaster.lifespan)`.

        Errors of ours that leave an endpoint of the application are answered with their code, unless the application
        has a handler for them.
        """
        warn_of_other_workers()
        handle_errors(app, self.tally.reject)
        heap = trimmed_heap() if self.trim_heap else nullcontext()
        async with self, heap, nullcontext() if self.trace is None else traced(self.recordings, self.trace):
            yield

    def connect(
        self,
        websocket: WebSocket,
        *,
        channel: str,
        since: Position | None = None,
        subprotocol: str | None = None,
        user: User | str | None = None,
    ) -> AbstractAsyncContextManager[Client]:
        """Accepts `websocket`, unless that was done, and makes it a client of `channel` while the context lasts.

        The client begins after `since`, by default at the channel's head. The endpoint itself checks origins and
        rights; `user`, or the user of that id, is shown to operators.

        Iterating over the client gives what it sends, text as str and binary as bytes, and ends when it has left or
        was closed. Publications to the channel reach it by themselves.

        Raises, before the WebSocket is accepted:
            ChannelLimitError: There is no room for another channel.
            ChannelNameError: The channel's name is not allowed.
            DrainingError: The server is about to stop.
            FullError: There are `max_clients` already.
            AlreadyConnectedError: The WebSocket is a client already.
            NotRunningError: The broadcaster was not started.
            UserError: The user's id is not allowed.
        """
        answer_errors(websocket.scope, self.tally.reject)
        return connect(self, websocket, channel=channel, since=since, subprotocol=subprotocol, user=as_user(user))

    async def attach(
        self,
        websocket: WebSocket,
        on_message: OnMessage,
        *,
        channel: str,
        since: Position | None = None,
        subprotocol: str | None = None,
        user: User | str | None = None,
    ) -> None:
        """Accepts `websocket`, unless that was done, and makes it a client that stays when the endpoint returns.

        Over our protocol class such a client has no task, and takes a tenth of the memory of one in `connect()`.

        Args:
            websocket: The WebSocket.
            on_message: Called with the client and each of its messages, text as str and binary as bytes. A coroutine
                that it returns is awaited before the next message. Refusals of ours that it raises close the client
                with their own code, and all else with 1011.
            channel: The client's channel.
            since: The position after which the client begins; by default the channel's head.
            subprotocol: The subprotocol that is accepted.
            user: The client's user, or its id, for operators; None: unknown.

        Raises what `connect` raises, before the WebSocket is accepted.
        """
        answer_errors(websocket.scope, self.tally.reject)
        serve, whose = partial(_working, on_message), as_user(user)
        await attach(self, websocket, serve, channel=channel, since=since, subprotocol=subprotocol, user=whose)

    async def serve(
        self,
        websocket: WebSocket,
        *,
        user: User | str | None = None,
        channels: Iterable[str] | None = None,
        may_subscribe: Allow = True,
        may_history: Allow = True,
        may_publish: Allow = True,
        template: str = "{text}",
        max_subscriptions: int = 100,
    ) -> None:
        """Serves `websocket` as `WS /ws` does: in the JSON dialect if that is offered, and else in the plain one.

        The WebSocket is refused, or becomes a client that stays when the endpoint returns, as with `attach`. Over plain
        ASGI this returns at the client's end. Each right is True, False, or a function of user and channel, synchronous
        or not, that is called each time.

        Args:
            websocket: The WebSocket; hosts and pages are checked as `access` says.
            user: The client's user, or its id; None: unknown.
            channels: The only channels of the client: names, or beginnings of names with `*` behind. None: all. Without
                `?channel=` a client of the plain dialect is on the first name, by default on "lobby".
            may_subscribe: Whether the client may subscribe to a channel, at first or after a position.
            may_history: Whether the client may also begin after a position, and get what was published since.
            may_publish: Whether the client may publish to a channel.
            template: A text of the plain dialect is published in it, in place of "{text}".
            max_subscriptions: Channels that a client of the JSON dialect may be on.

        Raises what `attach` raises of `websocket` and `user`, and:
            ChannelNameError: One of `channels` is neither a name nor the beginning of one.
            ValueError: The template does not contain "{text}" exactly once.
        """
        answer_errors(websocket.scope, self.tally.reject)
        names = [channels] if isinstance(channels, str) else list(channels or ())
        may = {"may_subscribe": may_subscribe, "may_history": may_history, "may_publish": may_publish}
        rights = self._rights(user, channels=None if channels is None else names, **may)
        first = next((name for name in names if not name.endswith("*")), DEFAULT_CHANNEL)
        bounds: dict[str, Any] = {"template": template, "max_subscriptions": max_subscriptions}
        await WebSocketEndpoint(self, self.access, default_channel=first, **bounds).admit(websocket, rights)

    def stream(
        self,
        request: Request,
        channel: str,
        *,
        user: User | str | None = None,
        may_subscribe: Allow = True,
        may_history: Allow = True,
        heartbeat_seconds: float = 15.0,
    ) -> Response:
        """Returns `channel` as the event stream that `GET /sse/{channel}` is, for an endpoint to return.

        Position and format come from `Last-Event-ID`, `?since=` and `?format=`. A browser that comes back calls the
        endpoint again, so its rights are asked again.

        Args:
            request: The request; hosts and pages are checked as `access` says.
            channel: The channel's name.
            user: The client's user, or its id; None: unknown.
            may_subscribe: True, False, or a function of user and channel, synchronous or not. False is answered with
                403.
            may_history: Whether the stream may also begin after a position, likewise.
            heartbeat_seconds: How often an open stream gets a comment.

        Raises:
            FanwiseError: The request is refused; the application answers with the code of the error.
        """
        answer_errors(request.scope, self.tally.reject)
        endpoint = EventStreamEndpoint(self, self.access, heartbeat_seconds=heartbeat_seconds)
        return endpoint.respond(
            request, channel, self._rights(user, may_subscribe=may_subscribe, may_history=may_history)
        )

    def _rights(self, user: User | str | None, **asked: Any) -> Rights:
        return Rights.of(user, authorise=self.access.authorise, **asked)

    @cached_property
    def router(self) -> APIRouter:
        """The ready-made routes, for `app.include_router(broadcaster.router)`; they start the broadcaster too."""
        return build_router(self, access=self.access, lifespan=self.lifespan)


def _working(on_message: OnMessage, client: Client) -> Work:
    def work(kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        return on_message(client, data.decode() if kind is _TEXT else data)

    return work


def worker_count(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Returns the number of workers that `--workers N` or the environment ask uvicorn for; 1 by default."""
    asked = environ.get("UVICORN_WORKERS") or environ.get("WEB_CONCURRENCY") or "1"
    for place, word in enumerate(argv):
        if word == "--workers" and place + 1 < len(argv):
            asked = argv[place + 1]
        elif word.startswith("--workers="):
            asked = word.partition("=")[2]
    return int(asked) if asked.isdecimal() else 1


@cache
def warn_of_other_workers() -> None:
    """Logs an error, at its first call, when this is a worker process among others.

    uvicorn spawns its workers with their parent's arguments, so a worker sees `--workers` as the parent did.
    """
    count = worker_count(sys.argv, os.environ)
    if count > 1 and multiprocessing.parent_process() is not None:
        log(Event.WORKERS, workers=count)
