"""The broadcaster as a FastAPI application holds it: in place of a list of clients and a loop over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self, TypeAlias, cast

from fastapi import APIRouter
from starlette.websockets import WebSocket

from .backplane.options import Options
from .backplane.port import Backplane
from .backplane.urls import backplane_from, default_replicas
from .backplane.workers.siblings import noticed_siblings
from .broadcaster.client import Client
from .broadcaster.heap import trimmed_heap
from .broadcaster.node import Node
from .broadcaster.publisher import Payload, serialise
from .broadcaster.registry import new_id
from .broadcaster.sharing import Sharing
from .broadcaster.sink import Sink, Source, Work
from .broadcaster.survey import Answer, Survey
from .broadcaster.sweep import OsWriter
from .broadcaster.trace_file import traced
from .core.dialect import PLAIN, Dialect
from .core.hub import Start
from .core.publication import Kind, Position, Publication
from .errors import BackplaneDownError, FanwiseError, NotRunningError, PublishNowaitError
from .routes.fleet.answers import answers_of
from .routes.router import build_router
from .routes.stats import StatsCollector
from .transport.connect import attach, connect
from .transport.sweep_writer import Mode, open_writer

OnMessage: TypeAlias = Callable[[Client, str | bytes], Coroutine[Any, Any, None] | None]
"""Works on one message of a client."""
_OPTIONS = Options()
_BOUNDS = ("history_messages", "history_bytes", "history_seconds", "publish_seconds")  # of the engine and of a node
_TEXT = Kind.TEXT  # as a global: CPython 3.11 makes a call of each attribute of an enum


@dataclass(kw_only=True, eq=False, repr=False)
class Broadcaster(Node):
    """A node with what FastAPI needs: `lifespan`, `connect()` and `router`.

    Args, beside those of `Node`:
        sweep: How sweeps write to sockets: "uring" (io_uring(7)), "write" (write(2)), or "auto": io_uring where the
            kernel passes a probe. Entering `lifespan` raises OSError if "uring" cannot be had.
        trim_heap: Whether `lifespan` gives free memory of the process back to the kernel every 10 s, in a thread, where
            the C library is glibc. Without that, a process stays as large as it has ever been.
        backplane: The engine behind several servers: a `Backplane`, or a URL (`redis://`, `rediss://`, `unix://`,
            `redis+sentinel://`, `nats://`, `tls://`). With one, the object that is made is a `SharedBroadcaster`. None:
            no other server.
        backplane_prefix: Of all keys in the engine of a URL.
        backplane_replicas: How many replicas have a publication before it is acknowledged; None: 1 behind sentinels,
            else 0.
        backplane_durable: Whether what the engine has acknowledged survives its restart, so that epochs stay.
        backplane_live_bytes: How many bytes a server may be behind before it asks the engine for histories.
        publish_seconds: How long a publication, or a channel to be opened, waits for the engine of a URL.
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
    backplane: str | Backplane | None = None
    backplane_prefix: str = _OPTIONS.prefix
    backplane_replicas: int | None = None
    backplane_durable: bool = _OPTIONS.durable
    backplane_live_bytes: int = _OPTIONS.live_bytes
    publish_seconds: float = _OPTIONS.publish_seconds

    def __new__(cls, *, backplane: str | Backplane | None = None, **_: Any) -> Self:
        """Makes a `SharedBroadcaster` where there is a backplane."""
        return cast("Self", super().__new__(SharedBroadcaster if backplane is not None and cls is Broadcaster else cls))

    def __post_init__(self) -> None:
        """Composes the broadcaster."""
        if self.open_writer is OsWriter:
            self.open_writer = partial(open_writer, self.sweep)
        super().__post_init__()

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Runs the broadcaster while the application runs: `FastAPI(lifespan=broadcaster.lifespan)`."""
        heap = trimmed_heap() if self.trim_heap else nullcontext()
        siblings = nullcontext() if self.shares else noticed_siblings()
        with siblings:
            async with self, heap, nullcontext() if self.trace is None else traced(self.recordings, self.trace):
                yield

    def connect(
        self, websocket: WebSocket, *, channel: str, since: Position | None = None, subprotocol: str | None = None
    ) -> AbstractAsyncContextManager[Client]:
        """Accepts `websocket`, unless that was done, and makes it a client of `channel` while the context lasts.

        The client begins after `since`, by default at the channel's head. The endpoint itself checks origins.

        Iterating over the client gives what it sends, text as str and binary as bytes, and ends when it has left or
        was closed. Publications to the channel reach it by themselves.

        Raises, before the WebSocket is accepted:
            ChannelLimitError: There is no room for another channel.
            ChannelNameError: The channel's name is not allowed.
            DrainingError: The server is about to stop.
            FullError: There are `max_clients` already.
            AlreadyConnectedError: The WebSocket is a client already.
            NotRunningError: The broadcaster was not started.
        """
        return connect(self, websocket, channel=channel, since=since, subprotocol=subprotocol)

    async def attach(
        self,
        websocket: WebSocket,
        on_message: OnMessage,
        *,
        channel: str,
        since: Position | None = None,
        subprotocol: str | None = None,
    ) -> None:
        """Accepts `websocket`, unless that was done, and makes it a client that stays when the endpoint returns.

        Over our protocol class such a client has no task, and takes a tenth of the memory of one in `connect()`.

        Args:
            websocket: The WebSocket.
            on_message: Called with the client and each of its messages, text as str and binary as bytes. A coroutine
                that it returns is awaited before the next message. What it raises closes the client with 1011.
            channel: The client's channel.
            since: The position after which the client begins; by default the channel's head.
            subprotocol: The subprotocol that is accepted.

        Raises what `connect` raises, before the WebSocket is accepted.
        """
        serve = partial(_working, on_message)
        await attach(self, websocket, serve, channel=channel, since=since, subprotocol=subprotocol)

    def submit(self, channel: str, payload: Payload, *, key: str | None = None) -> asyncio.Future[Publication]:
        """Publishes without waiting, with or without a backplane; the future has the publication.

        Takes what `publish` takes. What is raised, the future raises.
        """
        future: asyncio.Future[Publication] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self.publish_nowait(channel, payload, key=key))
        except FanwiseError as error:
            future.set_exception(error)
        return future

    @cached_property
    def router(self) -> APIRouter:
        """The ready-made routes, for `app.include_router(broadcaster.router)`; they start the broadcaster too."""
        return build_router(self, lifespan=self.lifespan)


class SharedBroadcaster(Broadcaster):
    """A broadcaster behind a backplane: its channels are those of all servers that have the engine in common.

    Publishing returns when the engine has the publication, with the position that all servers see.
    """

    shares = True
    _survey: Survey | None = None
    _sharing: Sharing | None = None

    def __post_init__(self) -> None:
        """Composes the broadcaster."""
        super().__post_init__()
        self.answers: dict[str, Answer] = answers_of(self, StatsCollector(self), published=lambda: self.published)

    async def __aenter__(self) -> Self:
        """Starts, and connects to the engine. Raises SettingsError if the engine refuses."""
        await super().__aenter__()
        if self._sharing is None:
            assert self._host is not None
            try:
                backplane = self._open_backplane()
                sharing = Sharing(backplane, self._hub, self._publisher, self._host.successors)
                await sharing.start()
            except BaseException:
                await super().__aexit__()
                raise
            self._survey = Survey(backplane.fleet(), self.answers)
            await self._survey.start()
            self._sharing = sharing
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Disconnects at the last exit, and stops."""
        sharing = self._sharing
        if self._starts == 1 and sharing is not None:
            await self.survey.stop()
            self._sharing = self._survey = None
            await sharing.stop()
        await super().__aexit__(*exc)

    def _open_backplane(self) -> Backplane:
        if not isinstance(self.backplane, str):
            assert self.backplane is not None
            return self.backplane
        bounds = {name: getattr(self, name) for name in _BOUNDS}
        own = {name: getattr(self, f"backplane_{name}") for name in ("prefix", "durable", "live_bytes")}
        replicas = self.backplane_replicas
        own["replicas"] = default_replicas(self.backplane) if replicas is None else replicas
        return backplane_from(self.backplane, Options(**bounds, **own))

    @property
    def survey(self) -> Survey:
        """What asks the other workers. Raises NotRunningError before the start."""
        if self._survey is None:
            raise NotRunningError
        return self._survey

    @property
    def published(self) -> int:
        """Publications that were acknowledged to this worker since its start."""
        return 0 if self._sharing is None else self._sharing.counts.published

    def _new_id(self) -> str:
        """Returns an id for a client, which tells the worker: 25 characters."""
        return f"{self.survey.worker}-{new_id()}"

    @property
    def sharing(self) -> Sharing:
        """The way to the other servers. Raises NotRunningError: the broadcaster was not started."""
        if self._sharing is None:
            raise NotRunningError
        return self._sharing

    @property
    def unready(self) -> str:
        """Why the node is not ready; "backplane" if the engine has been away for two seconds."""
        return super().unready or ("backplane" if self._sharing is None or self._sharing.is_down else "")

    def publish_nowait(self, channel: str, payload: Payload, *, key: str | None = None) -> Publication:  # noqa: ARG002 - it refuses
        """Raises PublishNowaitError: the engine gives positions, and has to be waited for."""
        raise PublishNowaitError

    def submit(self, channel: str, payload: Payload, *, key: str | None = None) -> asyncio.Future[Publication]:
        """Publishes like `publish`, which may be awaited later. What is raised, the future raises."""
        return asyncio.ensure_future(self.publish(channel, payload, key=key))

    async def publish(self, channel: str, payload: Payload, *, key: str | None = None) -> Publication:
        """Publishes on all servers; returns when the engine has it.

        Raises what `Broadcaster.publish` raises, and:
            BackplaneDownError: The engine cannot be reached, or is full: nothing was published.
            UnconfirmedError: The engine has not answered: perhaps it was published.
        """
        kind, data = serialise(payload)
        return await self.sharing.publish(channel, kind, data, key)

    def append(
        self, channel: str, kind: Kind, data: bytes, *, key: str | None = None
    ) -> Coroutine[Any, Any, Publication]:
        """Publishes `data` as it is, like `publish`."""
        return self.sharing.publish(channel, kind, data, key)

    def append_in_turn(
        self,
        channel: str,  # noqa: ARG002 - it refuses
        kind: Kind,  # noqa: ARG002
        data: bytes,  # noqa: ARG002
        *,
        key: str | None = None,  # noqa: ARG002
    ) -> tuple[Publication | None, Coroutine[Any, Any, None] | None]:
        """Raises PublishNowaitError: the engine has to be waited for."""
        raise PublishNowaitError

    def append_at_once(self, channel: str, kind: Kind, data: Sequence[bytes]) -> bool:  # noqa: ARG002 - it never does
        """Returns False: nothing is published without waiting for the engine."""
        return False

    @asynccontextmanager
    async def client(
        self,
        sink: Sink,
        listen: Callable[[], Source],
        *,
        channel: str | None = None,
        since: Position | None = None,
        address: str = "",
        dialect: Dialect = PLAIN,
    ) -> AsyncIterator[Client]:
        """A client for as long as the context lasts. Raises what `Node.client` and `Sharing.ready` raise."""
        self.check_room()
        if channel is not None:
            await self.sharing.ready(channel, since)
        async with super().client(
            sink, listen, channel=channel, since=since, address=address, dialect=dialect
        ) as client:
            yield client

    def subscribe(self, client: Client, channel: str, *, since: Position | None = None) -> Start:
        """Puts `client` on a channel that is open here.

        Raises what `Node.subscribe` raises, and BackplaneDownError: the channel is not open.
        """
        if not self.sharing.is_open(channel):
            raise BackplaneDownError("the channel is not open on this server: use `await subscribe_in_turn()`")
        return super().subscribe(client, channel, since=since)

    async def subscribe_in_turn(self, client: Client, channel: str, *, since: Position | None = None) -> Start:
        """Subscribes when the engine has said where the channel stands."""
        await self.sharing.ready(channel, since)
        return self.subscribe(client, channel, since=since)


def _working(on_message: OnMessage, client: Client) -> Work:
    def work(kind: Kind, data: bytes) -> Coroutine[Any, Any, None] | None:
        return on_message(client, data.decode() if kind is _TEXT else data)

    return work
