"""The protocol class on a transport that records: literal bytes in, literal bytes out."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.broadcaster.outbox import Outbox
from fanwise.broadcaster.sink import Received
from fanwise.core.dialect import PLAIN
from fanwise.core.publication import Kind, Publication
from fanwise.core.queue import Batch

from .gates.scenarios import intake
from .harness import stage
from .ready_channel import PAYLOAD
from .wire import HELLO, PING, PONG, wire


def test_hello(benchmark: BenchmarkFixture) -> None:
    """Guards the way of one message: "hello" in a masked frame, from the read to the endpoint that it wakes."""
    benchmark.group = "one message in one read"
    with wire(rates=False) as connection:

        def run() -> list[Received]:
            connection.feed(HELLO)
            return connection.read()

        assert benchmark(run) == [(Kind.TEXT, b"hello")]


def test_ping(benchmark: BenchmarkFixture) -> None:
    """Guards the answer to a ping, which the library's parser makes."""
    benchmark.group = "one ping"
    with wire(rates=False) as connection:

        def run() -> bytes:
            connection.feed(PING)
            return bytes(connection.transport.written.pop())

        assert benchmark(run) == PONG


@pytest.mark.parametrize("way", ["whole", "in pieces", "fragments"])
def test_intake(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards the way past the library's parser for whole frames; the twins need it, or come in pieces."""
    benchmark.group = "messages, from the read to the endpoint"
    ways = {"whole": intake.whole_messages, "in pieces": intake.in_pieces, "fragments": intake.fragmented}
    with ways[way]() as step:
        assert benchmark(step) == (16 if way == "fragments" else 64) * 128


@pytest.mark.parametrize("way", ["frames as they are", "one write each"])
def test_catching_up(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards that a batch is handed over in one piece, of frames that exist: the twin writes each for itself."""
    benchmark.group = "64 publications handed to the transport of a client that is behind"
    publications = [Publication("lobby", "e", at, PAYLOAD, kind=Kind.TEXT, time=0.0) for at in range(64)]
    with wire() as connection, stage() as place:
        channel = place.broadcaster._hub.channel("lobby", time=0.0)
        outbox = Outbox(connection.connection, PLAIN)

        def run() -> int:
            connection.transport.written.clear()
            batches = [publications] if way == "frames as they are" else [[one] for one in publications]
            for batch in batches:
                outbox.write(channel, Batch(batch, []))
            return sum(map(len, connection.transport.written))

        assert benchmark(run) == 64 * (4 + len(PAYLOAD))
