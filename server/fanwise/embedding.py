"""The broadcaster as a FastAPI application holds it: in place of a list of clients and a loop over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Self, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from .backplane.options import Options
from .backplane.port import Backplane
from .backplane.urls import open_backplane
from .backplane.workers.siblings import noticed_siblings
from .broadcaster.client import Client
from .broadcaster.exclusions import Whom, id_of
from .broadcaster.heap import trimmed_heap
from .broadcaster.joined import Joined
from .broadcaster.node import Node
from .broadcaster.publisher import Payload, serialise
from .broadcaster.registry import new_id
from .broadcaster.sharing import Sharing
from .broadcaster.sink import Sink, Source
from .broadcaster.survey import Answer, Survey
from .broadcaster.sweep import OsWriter
from .broadcaster.trace_file import traced
from .broadcaster.tracing.opening import Tracing, open_spans
from .core.filters import Tags, Wanted
from .core.hub import Start
from .core.publication import Kind, Position, Publication, Since, begins
from .core.rights import Allow, Rights, User, as_user
from .errors import BackplaneDownError, FanwiseError, NotRunningError, PublishNowaitError
from .routes.auth.guards import Access
from .routes.fleet.answers import answers_of
from .routes.problems import answer_errors, handle_errors
from .routes.router import build_router
from .routes.sse import EventStreamEndpoint
from .routes.stats import StatsCollector
from .routes.websocket import DEFAULT_CHANNEL, WebSocketEndpoint
from .transport.connect import OnMessage, attach, connect, working
from .transport.sweep_writer import Mode, open_writer

_OPTIONS = Options()


@dataclass(kw_only=True, eq=False, repr=False)
class Broadcaster(Node):
    """A node with what FastAPI needs: `lifespan`, `connect()` and `router`.

    Args, beside those of `Node`:
        sweep: How sweeps write to sockets: "uring" (io_uring(7)), "write" (write(2)), or "auto": io_uring where the
            kernel passes a probe. Entering `lifespan` raises OSError if "uring" cannot be had.
        trim_heap: Whether `lifespan` gives free memory of the process back to the kernel every 10 s, in a thread, where
            the C library is glibc. Without that, a process stays as large as it has ever been.
        backplane: The engine behind several servers, for a `SharedBroadcaster`: a `Backplane`, or a URL (`redis://`,
            `rediss://`, `unix://`, `redis+sentinel://`, `nats://`, `tls://`). None: there is no other server.
        backplane_prefix: Of all keys in the engine of a URL.
        backplane_replicas: How many replicas acknowledge a publication; None: 1 behind sentinels and in a
            cluster of NATS, else 0.
        backplane_durable: Whether what the engine has acknowledged survives its restart, so that epochs stay.
        backplane_live_bytes: How many bytes a server may be behind before it asks the engine for histories.
        publish_seconds: How long a publication, or a channel to be opened, waits for the engine of a URL.
        access: Hosts, pages, key and rights that the ready-made routes, `serve` and `stream` ask for; by default the
            pages of the server's own host, and everybody.
        trace: A file that `lifespan` writes a trace to, of 256 MiB at most; None: no file. Entering raises OSError if
            the file cannot be opened.
        tracing: Whether publications get spans of OpenTelemetry, by the global tracer provider; or the provider. Raises
            SettingsError without the extra `otel`.

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
    tracing: Tracing = False
    backplane: str | Backplane | None = None
    backplane_prefix: str = _OPTIONS.prefix
    backplane_replicas: int | None = None
    backplane_durable: bool = _OPTIONS.durable
    backplane_live_bytes: int = _OPTIONS.live_bytes
    publish_seconds: float = _OPTIONS.publish_seconds
    access: Access = field(default_factory=Access)

    def __new__(cls, *, backplane: str | Backplane | None = None, **_: Any) -> Self:
        """Makes a `SharedBroadcaster` where there is a backplane."""
        return cast("Self", super().__new__(SharedBroadcaster if backplane is not None and cls is Broadcaster else cls))

    def __post_init__(self) -> None:
        """Composes the broadcaster."""
        if self.open_writer is OsWriter:
            self.open_writer = partial(open_writer, self.sweep)
        super().__post_init__()
        if (spans := open_spans(self.tracing)) is not None:
            self.recordings.trace(spans, shares=self.shares)

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Runs the broadcaster while the application runs: `FastAPI(lifespan=broadcaster.lifespan)`.

        Errors of ours that leave an endpoint are answered with their code, unless the application handles them.
        """
        handle_errors(app, self.tally.reject)
        heap = trimmed_heap() if self.trim_heap else nullcontext()
        siblings = nullcontext() if self.shares else noticed_siblings()
        with siblings:
            async with self, heap, nullcontext() if self.trace is None else traced(self.recordings, self.trace):
                yield

    def connect(
        self,
        websocket: WebSocket,
        *,
        channel: str,
        since: Position | None = None,
        last: int | None = None,
        filter: Wanted = None,
        subprotocol: str | None = None,
        user: User | str | None = None,
    ) -> AbstractAsyncContextManager[Client]:
        """Accepts `websocket`, unless that was done, and makes it a client of `channel` while the context lasts.

        The client begins after `since`, or with the `last` publications, by default at the channel's head. With a
        `filter`, {tag: value or values}, it gets what has these tags. The endpoint itself checks origins and rights;
        `user`, or the user of that id, is shown to operators.

        Iterating over the client gives what it sends, text as str and binary as bytes, and ends when it has left or
        was closed. Publications to the channel reach it by themselves.

        Raises, before the WebSocket is accepted:
            ChannelLimitError, ChannelNameError: There is no room for another channel, or its name is not allowed.
            DrainingError, FullError: The server is about to stop, or there are `max_clients` already.
            AlreadyConnectedError: The WebSocket is a client already.
            BeginningError, FilterLimitError, TagError: What `subscribe` raises of `since`, `last` and `filter`.
            NotRunningError, UserError: The broadcaster was not started; the user's id is not allowed.
        """
        answer_errors(websocket.scope, self.tally.reject)
        about: dict[str, Any] = {"subprotocol": subprotocol, "user": as_user(user), **begins(since, last, filter)}
        return connect(self, websocket, channel=channel, **about)

    async def attach(
        self,
        websocket: WebSocket,
        on_message: OnMessage,
        *,
        channel: str,
        since: Position | None = None,
        last: int | None = None,
        filter: Wanted = None,
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
            last: How many publications before the head the client begins, instead.
            filter: {tag: value or values} of the publications that the client gets; None: it gets all.
            subprotocol: The subprotocol that is accepted.
            user: The client's user, or its id, for operators; None: unknown.

        Raises what `connect` raises, before the WebSocket is accepted.
        """
        answer_errors(websocket.scope, self.tally.reject)
        about: dict[str, Any] = {"subprotocol": subprotocol, "user": as_user(user), **begins(since, last, filter)}
        await attach(self, websocket, partial(working, on_message), channel=channel, **about)

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

        Beginning, filter and format come from the request. A browser that comes back has its rights asked again.

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
        rights = self._rights(user, may_subscribe=may_subscribe, may_history=may_history)
        return endpoint.respond(request, channel, rights)

    def _rights(self, user: User | str | None, **asked: Any) -> Rights:
        return Rights.of(user, authorise=self.access.authorise, **asked)

    def submit(
        self, channel: str, payload: Payload, *, key: str | None = None, tags: Tags | None = None, exclude: Whom = None
    ) -> asyncio.Future[Publication]:
        """Publishes without waiting, with or without a backplane; the future has the publication, or the error."""
        future: asyncio.Future[Publication] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self.publish_nowait(channel, payload, key=key, tags=tags, exclude=exclude))
        except FanwiseError as error:
            future.set_exception(error)
        return future

    @cached_property
    def router(self) -> APIRouter:
        """The ready-made routes, for `app.include_router(broadcaster.router)`; they start the broadcaster too."""
        return build_router(self, access=self.access, lifespan=self.lifespan)


class SharedBroadcaster(Broadcaster):
    """A broadcaster behind a backplane: its channels are those of all servers that have the engine in common."""

    shares = True
    _joined: Joined | None = None

    def __post_init__(self) -> None:
        """Composes the broadcaster."""
        super().__post_init__()
        self.answers: dict[str, Answer] = answers_of(self, StatsCollector(self), published=lambda: self.published)

    async def __aenter__(self) -> Self:
        """Starts, and connects to the engine. Raises SettingsError if the engine refuses."""
        await super().__aenter__()
        if self._joined is None:
            assert self._host is not None
            try:
                shared = (self._hub, self._publisher, self._host, self.presence, self.answers)
                joined = Joined(open_backplane(self, self.inspect.namespaces), *shared)
                await joined.start()
            except BaseException:
                await super().__aexit__()
                raise
            self._joined = joined
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Disconnects at the last exit, and stops."""
        joined = self._joined
        if self._starts == 1 and joined is not None:
            self._joined = None
            await joined.stop()
        await super().__aexit__(*exc)

    @property
    def survey(self) -> Survey:
        """What asks the other workers. Raises NotRunningError before the start."""
        return self.joined.survey

    @property
    def published(self) -> int:
        """Publications that were acknowledged to this worker since its start."""
        return 0 if self._joined is None else self._joined.sharing.counts.published

    def _new_id(self) -> str:
        """Returns an id for a client, which tells the worker: 25 characters."""
        return f"{self.survey.worker}-{new_id()}"

    @property
    def sharing(self) -> Sharing:
        """The way to the other servers. Raises NotRunningError: the broadcaster was not started."""
        return self.joined.sharing

    @property
    def joined(self) -> Joined:
        """The connection to the other servers. Raises NotRunningError: the broadcaster was not started."""
        if self._joined is None:
            raise NotRunningError
        return self._joined

    @property
    def unready(self) -> str:
        """Why the node is not ready; "backplane" if the engine has been away for two seconds."""
        return super().unready or ("backplane" if self._joined is None or self._joined.sharing.is_down else "")

    async def send_to(self, user: User | str, payload: Payload) -> int:
        """Sends to clients of a user on all servers that answer in time. Raises CodedError too: FULL."""
        return await self.joined.send_to(user, payload)

    def publish_nowait(self, *_: Any, **__: Any) -> Publication:
        """Raises PublishNowaitError: the engine gives positions, and has to be waited for."""
        raise PublishNowaitError

    def submit(self, channel: str, payload: Payload, **about: Any) -> asyncio.Future[Publication]:
        """Publishes like `publish`, which may be awaited later. What is raised, the future raises."""
        return asyncio.ensure_future(self.publish(channel, payload, **about))

    async def publish(self, channel: str, payload: Payload, *, exclude: Whom = None, **about: Any) -> Publication:
        """Publishes on all servers; returns when the engine has it.

        Raises what `Broadcaster.publish` does, BackplaneDownError, or UnconfirmedError: perhaps it was published.
        """
        about["exclude"] = None if exclude is None else id_of(exclude)
        return await self.sharing.submitter.publish(channel, *serialise(payload), **about)

    def append(self, channel: str, kind: Kind, data: bytes, **about: Any) -> Coroutine[Any, Any, Publication]:
        """Publishes `data` as it is, like `publish`."""
        return self.sharing.submitter.publish(channel, kind, data, **about)

    def append_in_turn(self, *_: Any, **__: Any) -> tuple[Publication | None, Coroutine[Any, Any, None] | None]:
        """Raises PublishNowaitError: the engine has to be waited for."""
        raise PublishNowaitError

    def append_at_once(self, *_: Any) -> bool:
        """Returns False: nothing is published without waiting for the engine."""
        return False

    @asynccontextmanager
    async def client(self, sink: Sink, listen: Callable[[], Source], **about: Any) -> AsyncIterator[Client]:
        """A client for as long as the context lasts. Raises what `Node.client` and `Sharing.ready` raise."""
        self.check_room()
        if about.get("channel") is not None:
            await self.sharing.ready(about["channel"], about.get("since"))
        async with super().client(sink, listen, **about) as client:
            yield client

    def subscribe(self, client: Client, channel: str, **wanted: Any) -> Start:
        """Puts `client` on a channel that is open here; raises BackplaneDownError if it is not."""
        if not self.sharing.is_open(channel):
            raise BackplaneDownError("the channel is not open on this server: use `await subscribe_in_turn()`")
        return super().subscribe(client, channel, **wanted)

    async def subscribe_in_turn(
        self, client: Client, channel: str, *, since: Since = None, last: int | None = None, filter: Wanted = None
    ) -> Start:
        """Subscribes when the engine has said where the channel stands."""
        wanted = begins(since, last, filter)
        await self.sharing.ready(channel, wanted["since"])
        return self.subscribe(client, channel, **wanted)
