"""Wakeups: how often a whole server wakes up in a second in which nothing happens, and how often its loop turns then.

The clock is not real: a minute takes milliseconds, and the same number of wakeups in every run.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.wire import HANDSHAKE
from fanwise import serve
from fanwise.app import create_app
from fanwise.logs.events import Event
from fanwise.settings import Settings

from .clock import CLOCK
from .virtual import VirtualLoop

CLIENTS = 100
SECONDS = 10  # below the time between two pings, which the clients do not answer
STREAM = b"GET /sse/lobby HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"

Observe = Callable[[VirtualLoop, int], Awaitable[dict[str, float]]]


async def idle(loop: VirtualLoop, name: str) -> dict[str, float]:
    """The figures of some seconds in which nothing comes."""
    await asyncio.sleep(1)  # what came before has its end
    waits, turns, callbacks = loop.waits, loop.selects, loop.callbacks
    await asyncio.sleep(SECONDS)
    return {
        f"wakeups per idle second, {name}": (loop.waits - waits - 1) / SECONDS,  # one is this function's
        f"turns per idle second, {name}": (loop.selects - turns - 1) / SECONDS,
        f"callbacks per idle second, {name}": (loop.callbacks - callbacks - 1) / SECONDS,
    }


async def connect(loop: VirtualLoop, port: int, request: bytes) -> socket.socket:
    """A connection whose request has been answered."""
    peer = socket.socket()
    peer.setblocking(False)
    await loop.sock_connect(peer, ("127.0.0.1", port))
    await loop.sock_sendall(peer, request)
    await loop.sock_recv(peer, 4096)
    return peer


async def observe(loop: VirtualLoop, port: int) -> dict[str, float]:
    """The figures of a server that listens on `port`."""
    figures = await idle(loop, "nobody")
    for name, request in (("100 WebSockets", HANDSHAKE), ("100 event streams", STREAM)):
        peers = [await connect(loop, port, request) for _ in range(CLIENTS)]
        figures |= await idle(loop, name)
        for peer in peers:
            peer.close()
    return figures


async def run(loop: VirtualLoop) -> dict[str, float]:
    """Starts a server as `fanwise serve` does, and observes it."""
    settings = Settings.model_validate({"log_level": "error", "sweep": "write", "rate_limits": False})
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        server_class: Any = vars(serve)["FanwiseServer"]  # where it is defined differs between revisions
        server = server_class(
            serve.build_config(settings, app),
            app.state.broadcaster,
            places=serve.places(settings, count=app.state.broadcaster.tally.reject),
            drain_seconds=0.0,
            facts=dict.fromkeys(Event.STARTED.fields, ""),
        )
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.1)
        figures = await observe(loop, port)
        server.should_exit = True
        await serving
    return figures


def count(_root: str) -> dict[str, float]:
    """The figures of the server that is imported."""
    loop = VirtualLoop(CLOCK)
    try:
        return loop.run_until_complete(run(loop))
    finally:
        loop.close()
