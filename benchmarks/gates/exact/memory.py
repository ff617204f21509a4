"""Bytes per connection: what Python's allocators have given out for connections that are open and idle.

Each figure is a difference: so many connections more, so many bytes more. Allocations are counted, not pages: a byte
more in an object of each connection shows.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from statistics import median

from . import peers
from .observed import Server, observed

FIRST = 64  # connections that come before those that are counted
COUNT = 128
BATCHES = 3  # of which the median counts: a table that doubles in one of them is not of that one alone


def per_one(server: Server, make: Callable[[], socket.socket | None], kept: ExitStack) -> float:
    """Bytes for each of COUNT that `make` makes."""

    def make_many(count: int) -> None:
        for _ in range(count):
            made = make()
            if made is not None:
                kept.enter_context(made)

    make_many(FIRST)
    took = [int(server.ask("memory"))]
    for _ in range(BATCHES):
        make_many(COUNT)
        took.append(int(server.ask("memory")))
    return round(median(after - before for before, after in pairwise(took)) / COUNT)


def speak(port: int, channels: int) -> socket.socket:
    """A client of the JSON dialect, on so many channels."""
    peer = peers.connect(port, "/ws", subprotocol="fanwise.v1")
    for number in range(channels):
        peer.sendall(peers.op({"op": "subscribe", "channel": f"channel-{number}"}))
    peers.read_until(peer, b'"op":', channels + 1)
    return peer


def publisher(port: int, payload: bytes, kept: ExitStack) -> Callable[[], None]:
    """Publishes over one connection, which is opened for the first."""
    connections: list[socket.socket] = []

    def publish() -> None:
        if not connections:
            connections.append(kept.enter_context(peers.opened(port)))
        peers.post(connections[0], "/publish/retained", payload)

    return publish


def left(server: Server, make: Callable[[], socket.socket]) -> float:
    """Objects of COUNT connections that have come and gone which only the collector can free."""
    with peers.crowd(COUNT) as kept:
        server.ask("hold")
        for _ in range(COUNT):
            kept.enter_context(make())
    for _ in range(3):  # the server has heard of the ends when it has answered those who came later
        make().close()
    return int(server.ask("garbage"))


def count(root: str) -> dict[str, float]:
    """The figures of the server in `root`."""
    numbers = iter(range(1 << 20))
    with observed(root, memory=True) as server, peers.crowd(5 * (FIRST + BATCHES * COUNT)) as kept:
        port = server.port
        ways: dict[str, Callable[[], socket.socket | None]] = {
            "WebSocket": lambda: peers.connect(port, "/ws?channel=lobby"),
            "WebSocket on a channel of its own": lambda: peers.connect(port, f"/ws?channel=own-{next(numbers)}"),
            "JSON dialect, 1 channel": lambda: speak(port, 1),
            "JSON dialect, 10 channels": lambda: speak(port, 10),
            "event stream": lambda: peers.stream(port, "/sse/lobby"),
            "publication of 100 bytes": publisher(port, b"x" * 100, kept),
        }
        figures = {f"bytes per {name}": per_one(server, make, kept) for name, make in ways.items()}
        for name, path in (("WebSocket", peers.connect), ("event stream", peers.stream)):
            where = "/ws?channel=lobby" if path is peers.connect else "/sse/lobby"
            figures[f"left to the collector by {COUNT} {name}s"] = left(server, partial(path, port, where))
        return figures
