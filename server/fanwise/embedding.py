"""The broadcaster as a FastAPI application holds it: in place of a list of clients and a loop over it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, TypeAlias

from fastapi import APIRouter
from starlette.websockets import WebSocket

from .broadcaster.client import Client
from .broadcaster.heap import trimmed_heap
from .broadcaster.node import Node
from .broadcaster.sink import Work
from .broadcaster.sweep import OsWriter
from .broadcaster.trace_file import traced
from .core.publication import Kind, Position
from .logs.events import Event, log
from .routes.router import build_router
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

    def __post_init__(self) -> None:
        """Composes the broadcaster."""
        if self.open_writer is OsWriter:
            self.open_writer = partial(open_writer, self.sweep)
        super().__post_init__()

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Runs the broadcaster while the application runs: `FastAPI(lifespan=broadcaster.lifespan)`."""
        warn_of_other_workers()
        heap = trimmed_heap() if self.trim_heap else nullcontext()
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

    @cached_property
    def router(self) -> APIRouter:
        """The ready-made routes, for `app.include_router(broadcaster.router)`; they start the broadcaster too."""
        return build_router(self, lifespan=self.lifespan)


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
