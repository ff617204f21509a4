"""Compression once for all against none, and against compression for each client."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.core.counters import Counters
from fanwise.core.deflate import Deflater
from fanwise.core.dialect import JSON
from fanwise.core.encoding import json_message
from fanwise.core.lease import Lease
from fanwise.core.publication import Kind, Publication
from fanwise.transport.deflate import inflate

from .harness import TakesAll, stage
from .ready_channel import QUOTES

Descriptors = Callable[[int], list[int]]


def deflater(*, level: int = 1) -> Deflater:
    return Deflater(Counters(), from_bytes=200, level=level)


@pytest.mark.parametrize("way", ["as it is", "compressed"])
@pytest.mark.parametrize("clients", [1, 100, 1000])
def test_publish_and_sweep(benchmark: BenchmarkFixture, descriptors: Descriptors, clients: int, way: str) -> None:
    """Guards that compression is paid for per publication: the twin sends a kilobyte of JSON as it is."""
    benchmark.group = f"{clients} clients, 1 KB of JSON"
    fds = descriptors(clients)
    with stage() as place:
        tally = place.broadcaster.tally
        dialect = Deflater(tally, from_bytes=200, level=1).dialect(JSON, agreed=way == "compressed")
        channel = place.broadcaster._hub.channel("lobby", time=0.0)
        member, group = place.enter(TakesAll(fds[0]), dialect=dialect), channel.group(dialect.encode)
        for fd in fds[1:]:
            group.join(place.broadcaster._hub.subscribe(channel.name, time=0.0).queue, member, lease=Lease(fd))

        def run() -> None:
            place.broadcaster.publish_nowait("lobby", QUOTES)
            place.sweep(channel)

        benchmark(run)
        assert channel.deliveries == clients * channel.log.head
        assert tally.compressions == (channel.log.head if way == "compressed" else 0)
        for fd, (queue, _) in [pair for cohort in group for pair in cohort.by_fd.items()]:
            if fd != fds[0]:
                group.leave(queue, lease=Lease(fd))


@pytest.mark.parametrize("way", ["once", "per client"])
def test_compressing_once(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards that the frame is kept: the twin compresses for each of 100 clients, in a context of its own."""
    benchmark.group = "1 KB of JSON compressed for 100 clients"
    payload = orjson.dumps(QUOTES)
    compressors = [zlib.compressobj(1, zlib.DEFLATED, -15) for _ in range(100)]
    encode = deflater().dialect(JSON, agreed=True).encode

    def run() -> int:
        publication = Publication("lobby", "0123456789ab", 1, payload, kind=Kind.JSON, time=0.0)
        if way == "once":
            return sum(len(publication.encoded(encode)) > 0 for _ in range(100))
        message = json_message(publication)
        return sum(len(one.compress(message) + one.flush(zlib.Z_SYNC_FLUSH)) > 0 for one in compressors)

    assert benchmark(run) == 100


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("content", ["quotes", "random", "two letters"])
def test_the_largest_message(benchmark: BenchmarkFixture, content: str, level: int) -> None:
    """Guards the bound on what is compressed: 64 KiB of any content take less than a sweep may hold the loop."""
    benchmark.group = f"64 KiB of {content}"
    noise = os.urandom(65_536)
    made = {"quotes": orjson.dumps(QUOTES) * 70, "random": noise, "two letters": bytes(97 + byte % 2 for byte in noise)}
    benchmark(deflater(level=level).compress, made[content][:65_536])


@pytest.mark.parametrize("ratio", ["usual", "a bomb"])
def test_inflating(benchmark: BenchmarkFixture, ratio: str) -> None:
    """Guards what a compressed message of a peer costs: at most the largest message, whatever it was made of."""
    benchmark.group = "64 KiB inflated"
    message = orjson.dumps(QUOTES) * 70 if ratio == "usual" else bytes(10_000_000)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (
        compressor.compress(message[: None if ratio == "a bomb" else 65_536]) + compressor.flush(zlib.Z_SYNC_FLUSH)
    )[:-4]
    assert (benchmark(inflate, data, max_bytes=65_536) is None) is (ratio == "a bomb")
