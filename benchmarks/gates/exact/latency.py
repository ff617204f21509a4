"""Latency: turns of the event loop, and seconds of a clock that is not real, until clients are served.

A publication reaches every ready client in the turn after the one in which it was published, without a timer. What is
counted has no noise: a turn more is a turn more, and a timer of a millisecond is a millisecond.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from benchmarks.gates.scenarios.dialects import PUBLISH as OP
from benchmarks.harness import Pipe, Stage, TakesAll, devnull, stage
from benchmarks.wire import Wire, masked
from fanwise.broadcaster.client import Client
from fanwise.broadcaster.sink import Offer
from fanwise.broadcaster.sweep import write_to_all
from fanwise.core.dialect import JSON, PLAIN, SSE
from fanwise.core.publication import Position
from fanwise.routes.json_session import JsonSession
from fanwise.routes.websocket import PlainSession

from .clock import CLOCK
from .virtual import VirtualLoop

WRITE_SECONDS = 1e-6  # that a write takes on the clock
SECONDS_MOST = 60
NEVER = 1e9
TEXT = "x" * 128


class CountingWriter:
    """A `sweep.SweepWriter` whose writes take time on the clock."""

    name, why = "write", ""

    def write_to_all(self, fds: Collection[int], data: bytes) -> list[tuple[int, int]]:
        """Writes, and lets the time pass that this takes."""
        CLOCK.now += len(fds) * WRITE_SECONDS
        return write_to_all(fds, data)

    def close(self) -> None:
        """There is nothing to free."""


@contextmanager
def place(**settings: object) -> Iterator[tuple[Stage, VirtualLoop]]:
    """A broadcaster with its own settings but for `settings`, on a loop with the clock."""
    loop = VirtualLoop(CLOCK)
    own = {"sweep_seconds": 0.003, "memory_bytes": 1 << 30, "open_writer": CountingWriter, **settings}
    with stage(loop, **own) as found:
        yield found, loop


def served(loop: VirtualLoop, begin: Callable[[], object], done: Callable[[], bool]) -> dict[str, float]:
    """How long it takes from `begin` until `done`: turns, and milliseconds where turns alone do not help."""
    loop.begin()
    for _ in range(3):
        loop.turn()
    before, turns = CLOCK.now, loop.turns
    begin()
    while not done():
        loop.turn()
        if CLOCK.now - before > SECONDS_MOST:
            return {"turns": NEVER, "ms": NEVER}
    return {"turns": loop.turns - turns, "ms": round(1000 * (CLOCK.now - before), 3)}


def to_clients(clients: int) -> dict[str, float]:
    """A publication to ready clients with descriptors."""
    with place() as (found, loop), devnull(clients) as fds:
        for fd in fds:
            found.enter(TakesAll(fd))
        channel = found.broadcaster._hub.channel("lobby", time=0.0)
        before = channel.deliveries
        return served(
            loop,
            lambda: found.broadcaster.publish_nowait("lobby", TEXT),
            lambda: channel.deliveries - before >= clients,
        )


def to_transports() -> dict[str, float]:
    """A publication to clients of three dialects without descriptors, as under TLS."""
    with place() as (found, loop):
        sinks = [TakesAll() for _ in range(30)]
        for at, sink in enumerate(sinks):
            found.enter(sink, dialect=(JSON, SSE, JSON)[at % 3])
        before = [sink.writes for sink in sinks]
        return served(
            loop,
            lambda: found.broadcaster.publish_nowait("lobby", TEXT),
            lambda: all(sink.writes > was for sink, was in zip(sinks, before, strict=True)),
        )


def awaited(clients: int) -> dict[str, float]:
    """`await publish`, until it returns and the clients have it."""
    with place() as (found, loop), devnull(clients) as fds:
        for fd in fds:
            found.enter(TakesAll(fd))
        channel = found.broadcaster._hub.channel("lobby", time=0.0)
        before, tasks = channel.deliveries, []
        return served(
            loop,
            lambda: tasks.append(loop.create_task(found.broadcaster.publish("lobby", TEXT))),
            lambda: tasks[0].done() and channel.deliveries - before >= clients,
        )


def from_a_socket(message: bytes, *, json: bool) -> dict[str, float]:
    """A message of one WebSocket, until another client and, in the JSON dialect, the answer have it."""
    with place() as (found, loop), devnull(1) as fds:
        found.enter(TakesAll(fds[0]))
        channel = found.broadcaster._hub.channel("lobby", time=0.0)

        async def serve(offer: Offer) -> None:
            assert offer.connection is not None
            node = found.broadcaster
            client = node.add_client(offer.connection, dialect=JSON if json else PLAIN)
            session: JsonSession | PlainSession = (
                JsonSession(node, client, max_subscriptions=10, may_publish=True)
                if json
                else PlainSession(node, client, channel="lobby", before=b"", after=b"", may_publish=True)
            )
            offer.detach(session.work, failed=lambda _error: None)

        wire = Wire(loop, endpoint=serve)
        before = channel.deliveries

        def done() -> bool:
            return channel.deliveries > before and bool(wire.transport.written or not json)

        try:
            return served(loop, lambda: wire.feed(masked(message)), done)
        finally:
            wire.close()


def caught_up() -> dict[str, float]:
    """A client whose socket was full, from the moment at which its transport is empty until it has everything."""
    with place() as (found, loop):
        sink = Pipe()
        client = found.enter(sink)
        for _ in range(64):
            found.broadcaster.publish_nowait("lobby", TEXT)
        while not sink.buffered_bytes:
            loop.turn()

        def done() -> bool:
            sink.read()
            return client.state.value == "ready"

        return served(loop, sink.read, done)


def resumed() -> dict[str, float]:
    """A client that comes back after 100 publications, until it has them."""
    with place() as (found, loop), devnull(1) as fds:
        for _ in range(200):
            found.broadcaster.publish_nowait("lobby", TEXT)
        log = found.broadcaster._hub.channel("lobby", time=0.0).log
        sink, since = TakesAll(fds[0]), Position(log.epoch, 100)
        clients: list[Client] = []

        def begin() -> None:
            clients.append(found.broadcaster.add_client(sink, channel="lobby", since=since))

        took = served(loop, begin, lambda: clients[0].state.value == "ready")
        return took | {"writes": sink.writes}


def beside_others() -> dict[str, float]:
    """A publication to one ready client while 200 others come back and catch up."""
    with place() as (found, loop), devnull(201) as fds:
        found.enter(TakesAll(fds[0]))
        for _ in range(500):
            found.broadcaster.publish_nowait("lobby", TEXT)
        channel = found.broadcaster._hub.channel("lobby", time=0.0)
        found.sweep(channel)
        since = Position(channel.log.epoch, 0)
        before = channel.deliveries

        def begin() -> None:
            for fd in fds[1:]:
                found.broadcaster.add_client(TakesAll(fd), channel="lobby", since=since)
            found.broadcaster.publish_nowait("lobby", TEXT)

        return served(loop, begin, lambda: channel.swept == channel.log.head and channel.deliveries > before)


class Full(TakesAll):
    """A sink that takes nothing."""

    writable = False
    buffered_bytes = 1000


def closed(*, messages: int) -> dict[str, float]:
    """A client that takes nothing, until it is closed: for being stalled, or for being over its bounds."""
    with place() as (found, loop):
        client = found.enter(Full(), channel=None)
        found.broadcaster.subscribe(client, "lobby")

        def begin() -> None:
            for _ in range(messages):
                found.broadcaster.publish_nowait("lobby", TEXT)

        took = served(loop, begin, lambda: client.reason is not None)
        return {"ms": took["ms"]}


def count(_root: str) -> dict[str, float]:
    """The figures of the server that is imported."""
    logging.disable()  # clients are dropped on purpose
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "a publication to 1 client": lambda: to_clients(1),
        "a publication to 1,000 clients": lambda: to_clients(1_000),
        "a publication to 10,000 clients": lambda: to_clients(10_000),
        "a publication through transports": to_transports,
        "an awaited publication": lambda: awaited(1),
        "an awaited publication to nobody": lambda: awaited(0),
        "a text from a socket": lambda: from_a_socket(b"x" * 128, json=False),
        "an op from a socket": lambda: from_a_socket(OP, json=True),
        "catching up": caught_up,
        "coming back": resumed,
        "a publication beside 200 that come back": beside_others,
        "a stalled client": lambda: closed(messages=1),
        "a client over its bounds": lambda: closed(messages=1100),
    }
    return {f"{name}: {unit}": value for name, way in ways.items() for unit, value in way().items()}
