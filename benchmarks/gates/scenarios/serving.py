"""What a whole server does beside fan-out: connections that come and go, requests, and channels that are many."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from uvicorn.server import ServerState

from benchmarks.harness import StillLoop, TakesAll, stage
from benchmarks.ready_channel import PAYLOAD
from benchmarks.wire import HANDSHAKE, FakeTransport
from fanwise import serve
from fanwise.app import create_app
from fanwise.routes.stats import StatsCollector
from fanwise.settings import Settings
from fanwise.transport.newcomer import protocol_maker

from . import Scenario, Step

TEXT = PAYLOAD.decode()
OTHERS = 1000
ARRIVALS = 4
REQUESTS = 2
PUBLICATIONS = 64
LAYOUTS = 2  # an application takes long to make under valgrind
TURNS_MOST = 1000
ENDS = (b"}", b"0\r\n\r\n")  # of an answer with a known length, and of chunks
PEER = ("127.0.0.1", 50_000)


def request(line: bytes, body: bytes = b"") -> bytes:
    """A request as browsers send it."""
    fields = b"Content-Type: text/plain\r\nContent-Length: %d\r\n" % len(body) if body else b""
    return line + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n" + fields + b"\r\n" + body


STREAM = request(b"GET /sse/lobby")
PUBLISH = request(b"POST /publish/lobby", PAYLOAD)
HISTORY = request(b"GET /channels/lobby/history?limit=20")


class Served:
    """A whole application behind the protocols of accepted connections, on a loop whose clock stands still."""

    def __init__(self) -> None:
        self.loop = StillLoop()
        settings = Settings.model_validate({"log_level": "error", "sweep": "write", "rate_limits": False})
        app = create_app(settings)
        self.broadcaster = app.state.broadcaster
        self._places = serve.places(settings, count=self.broadcaster.tally.reject)
        self._config = serve.build_config(settings, app)
        self._sockets = [socket.socket() for _ in range(ARRIVALS)]
        self._make: Any = self.loop.run_until_complete(self._start())

    async def _start(self) -> Any:
        await self.broadcaster.__aenter__()
        self._config.load()
        return protocol_maker(self._config, ServerState(), {})

    def crowd(self) -> None:
        """Adds clients who are ready, and stay."""
        for _ in range(OTHERS):
            self.broadcaster.add_client(TakesAll(), channel="lobby")
        for _ in range(3):
            self.loop.turn()

    def arrive(self, data: bytes) -> list[FakeTransport]:
        """Has connections come that each bring `data`; returns their transports when all are answered."""
        transports = [FakeTransport(sock) for sock in self._sockets]
        for transport in transports:
            self.loop.call_soon(self._connect, transport, data)
        for _ in range(ARRIVALS):  # two requests that are no plain handshakes begin in a turn
            self.loop.turn()
        return transports

    def _connect(self, transport: FakeTransport, data: bytes) -> None:
        place = self._places.enter(PEER[0])
        transport.protocol = self._make(place, PEER, None)
        transport.protocol.connection_made(transport)
        if data:
            transport.protocol.data_received(data)
        place.leave()

    def feed(self, transport: FakeTransport, data: bytes) -> bool:
        """Has a request come on a connection; returns whether it was answered with 200, when that has come to its end.

        Work that gives the loop back after some milliseconds takes more turns under valgrind.
        """
        begin = len(transport.written)
        self.loop.call_soon(transport.protocol.data_received, data)
        for _ in range(TURNS_MOST):
            self.loop.turn()
            if transport.written[begin:] and bytes(transport.written[-1]).endswith(ENDS):
                break
        self.loop.turn()
        return bytes(transport.written[begin]).startswith(b"HTTP/1.1 200")

    def leave(self, transports: list[FakeTransport]) -> None:
        """Has connections go."""
        for transport in transports:
            self.loop.call_soon(transport.protocol.connection_lost, None)
        self.loop.turn()
        self.loop.turn()

    def close(self) -> None:
        """Stops."""
        self.loop.run_until_complete(self.broadcaster.__aexit__())
        self.loop.close()
        for sock in self._sockets:
            sock.close()


@contextmanager
def served() -> Iterator[Served]:
    """An application for as long as the context lasts."""
    place = Served()
    try:
        yield place
    finally:
        place.close()


@contextmanager
def come_and_go(data: bytes, status: bytes) -> Iterator[Step]:
    """4 connections that come with a request, are clients beside 1,000 others, and go: O(1) each."""
    with served() as place:
        place.crowd()

        def step() -> int:
            transports = place.arrive(data)
            clients = len(place.broadcaster)
            answers = sum(bytes(transport.written[0]).startswith(status) for transport in transports)
            place.leave(transports)
            return answers if clients - len(place.broadcaster) == ARRIVALS else 0

        yield step


@contextmanager
def ask(data: bytes) -> Iterator[Step]:
    """2 requests of one connection, through uvicorn's protocol and the application."""
    with served() as place:
        for _ in range(50):
            place.broadcaster.publish_nowait("lobby", TEXT)
        transport = place.arrive(b"")[0]

        def step() -> int:
            return sum([place.feed(transport, data) for _ in range(REQUESTS)])

        yield step


@contextmanager
def statistics() -> Iterator[Step]:
    """What `/stats` has to say: O(1) for the counters, O(1) for each client and channel."""
    with stage() as place:
        for number in range(100):
            place.broadcaster.add_client(TakesAll(), channel=f"channel-{number % 10}")
        collector = StatsCollector(place.broadcaster)

        def step() -> int:
            found = place.broadcaster.statistics()
            return len(found.clients) + len(found.channels) + bool(collector.summary())

        yield step


@contextmanager
def many_channels() -> Iterator[Step]:
    """64 publications to one of 1,000 channels, and what an audit does for logs: O(1) whatever the others do."""
    with stage() as place:
        broadcaster, retention = place.broadcaster, place.broadcaster._hub.retention
        for number in range(1000):
            broadcaster.publish_nowait(f"channel-{number}", TEXT)
        retention.trim(0.0)
        channel = broadcaster._hub.channel("channel-500", time=0.0)

        def step() -> int:
            before = channel.log.head
            for _ in range(PUBLICATIONS):
                broadcaster.publish_nowait(channel.name, TEXT)
            retention.trim(0.0)
            return channel.log.head - before

        yield step


def _scenario(name: str, build: Callable[..., Any], *arguments: bytes, does: int) -> Scenario:
    return Scenario(name, partial(build, *arguments), does, LAYOUTS)


SCENARIOS = (
    _scenario("handshake", come_and_go, HANDSHAKE, b"HTTP/1.1 101", does=ARRIVALS),
    _scenario("stream-request", come_and_go, STREAM, b"HTTP/1.1 200", does=ARRIVALS),
    _scenario("http-publish", ask, PUBLISH, does=REQUESTS),
    _scenario("http-history", ask, HISTORY, does=REQUESTS),
    _scenario("statistics", statistics, does=100 + 10 + 1),
    _scenario("many-channels", many_channels, does=PUBLICATIONS),
)
