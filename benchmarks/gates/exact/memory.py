"""Bytes per connection and per publication: what Python's allocators have given out for what is open, or retained.

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

from benchmarks.wire import masked

from . import peers
from .observed import Server, observed

FIRST = 64  # connections that come before those that are counted
COUNT = 128
BATCHES = 3  # of which the median counts: a table that doubles in one of them is not of that one alone
BURST = 16  # publications that come together
PAYLOAD = b"x" * 100


def per_one(server: Server, make: Callable[[], socket.socket | None], kept: ExitStack, *, at_once: int = 1) -> float:
    """Bytes for each of COUNT that `make` makes, `at_once` of them with each call."""

    def make_many(count: int) -> None:
        for _ in range(count // at_once):
            made = make()
            if made is not None:
                kept.enter_context(made)

    make_many(FIRST)
    took = [int(server.ask("memory"))]
    for _ in range(BATCHES):
        make_many(COUNT)
        took.append(int(server.ask("memory")))
    return round(median(after - before for before, after in pairwise(took)) / COUNT)


def speak(port: int, channels: int, *, name: str = "channel-{}") -> socket.socket:
    """A client of the JSON dialect, on so many channels. Ops come one by one: reads of several take more."""
    peer = peers.connect(port, "/ws", subprotocol="fanwise.v1")
    peers.read_until(peer, b'"op":')
    for number in range(channels):
        peer.sendall(peers.op({"op": "subscribe", "channel": name.format(number)}))
        peers.read_until(peer, b'"op":')
    return peer


def publisher(port: int, path: str, kept: ExitStack) -> Callable[[], None]:
    """Publishes over HTTP to nobody, on a connection of its own; `{}` in `path` is another number each time."""
    connections: list[socket.socket] = []
    numbers = iter(range(1 << 20))

    def publish() -> None:
        if not connections:  # one without a request would be closed
            connections.append(kept.enter_context(peers.opened(port)))
        peers.post(connections[0], path.format(next(numbers)), PAYLOAD)

    return publish


def sender(all_: list[socket.socket], kept: ExitStack, *, at_once: int = 1) -> Callable[[], None]:
    """Publishes over the first of some connections, in one write, and waits until all have it."""
    for peer in all_:
        kept.enter_context(peer)

    def send() -> None:
        all_[0].sendall(masked(PAYLOAD) * at_once)
        for peer in all_:
            peers.read_until(peer, PAYLOAD, at_once)

    return send


def left(server: Server, make: Callable[[], socket.socket]) -> float:
    """Objects of COUNT connections that have come and gone which only the collector can free."""
    with peers.crowd(COUNT) as kept:
        server.ask("hold")
        for _ in range(COUNT):
            kept.enter_context(make())
    for _ in range(3):  # the server has heard of the ends when it has answered those who came later
        make().close()
    return int(server.ask("garbage"))


def connections(server: Server, kept: ExitStack) -> dict[str, float]:
    """Bytes for each connection of each kind."""
    port, numbers = server.port, iter(range(1 << 20))
    ways: dict[str, Callable[[], socket.socket]] = {
        "WebSocket": lambda: peers.connect(port, "/ws?channel=lobby"),
        "WebSocket on a channel of its own": lambda: peers.connect(port, f"/ws?channel=own-{next(numbers)}"),
        "JSON dialect, 1 channel": lambda: speak(port, 1),
        "JSON dialect, 10 channels": lambda: speak(port, 10),
        "event stream": lambda: peers.stream(port, "/sse/lobby"),
    }
    return {f"bytes per {name}": per_one(server, make, kept) for name, make in ways.items()}


def publications(server: Server, kept: ExitStack) -> dict[str, float]:
    """Bytes for each retained publication, by the ways on which publications come and go."""
    port = server.port
    three = [peers.connect(port, "/ws?channel=three"), speak(port, 1, name="three"), peers.stream(port, "/sse/three")]
    ways = {
        "of 100 bytes": (publisher(port, "/publish/retained", kept), 1),
        "with a key": (publisher(port, "/publish/keyed?key={}", kept), 1),
        "in 3 encodings": (sender(three, kept), 1),
        f"of {BURST} at once": (sender([peers.connect(port, "/ws?channel=burst")], kept, at_once=BURST), BURST),
    }
    return {
        f"bytes per publication {name}": per_one(server, make, kept, at_once=at_once)
        for name, (make, at_once) in ways.items()
    }


def count(root: str) -> dict[str, float]:
    """The figures of the server in `root`."""
    with observed(root, memory=True) as server, peers.crowd(5 * (FIRST + BATCHES * COUNT)) as kept:
        figures = connections(server, kept) | publications(server, kept)
        for name, path in (("WebSocket", peers.connect), ("event stream", peers.stream)):
            where = "/ws?channel=lobby" if path is peers.connect else "/sse/lobby"
            figures[f"left to the collector by {COUNT} {name}s"] = left(server, partial(path, server.port, where))
        return figures
