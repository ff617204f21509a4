"""From payload to bytes: made once per publication and encoding, and joined once per slice."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.core.encoding import json_frame, plain_frame, sse_chunk, sse_json_chunk, text_frame
from fanwise.core.group import ReadyGroup
from fanwise.core.log import Log
from fanwise.core.publication import Encoding, Kind, Publication

from .ready_channel import PAYLOAD

ENCODINGS = pytest.mark.parametrize("encoding", [plain_frame, json_frame, sse_chunk, sse_json_chunk])


def filled_log(count: int) -> Log:
    log = Log("lobby", epoch="0123456789ab", max_messages=count, max_bytes=1 << 30)
    for _ in range(count):
        log.append(PAYLOAD, kind=Kind.TEXT, time=0.0)
    return log


@ENCODINGS
def test_encode(benchmark: BenchmarkFixture, encoding: Encoding) -> None:
    """Guards the bytes of a publication, which are made once for all clients: the price of each encoding."""
    benchmark.group = "encode"
    publication = Publication("lobby", "0123456789ab", 1, PAYLOAD, kind=Kind.TEXT, time=0.0)
    assert PAYLOAD in benchmark(encoding, publication)


@pytest.mark.parametrize("way", ["once", "per client"])
@pytest.mark.parametrize("encoding", [plain_frame, json_frame])
def test_encoding_once(benchmark: BenchmarkFixture, encoding: Encoding, way: str) -> None:
    """Guards that bytes are kept: the twin encodes for each of 100 clients, as the tutorial loop does."""
    benchmark.group = f"{encoding.__name__} for 100 clients"

    def run() -> int:
        publication = Publication("lobby", "0123456789ab", 1, PAYLOAD, kind=Kind.TEXT, time=0.0)
        if way == "once":
            return sum(len(publication.encoded(encoding)) for _ in range(100))
        return sum(len(encoding(publication)) for _ in range(100))

    assert benchmark(run) % 100 == 0


@pytest.mark.parametrize("way", ["fragment", "parsed"])
def test_json_payload(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards that JSON payloads go into the envelope as they are: the twin parses and serialises them again."""
    benchmark.group = "a JSON payload of 4 KB in its envelope"
    payload = orjson.dumps([{"id": number, "text": "x" * 20} for number in range(100)])
    publication = Publication("lobby", "0123456789ab", 1, payload, kind=Kind.JSON, time=0.0)

    def parsed() -> bytes:
        fields = {"op": "message", "channel": "lobby", "offset": 1, "data": orjson.loads(payload)}
        return text_frame(orjson.dumps(fields))

    run: Callable[[], bytes] = parsed if way == "parsed" else lambda: json_frame(publication)
    assert benchmark(run) == json_frame(publication)


@pytest.mark.parametrize("clients", [1, 100, 1000, 10_000])
@pytest.mark.parametrize("way", ["per cohort", "per client"])
def test_slice_and_join(benchmark: BenchmarkFixture, way: str, clients: int) -> None:
    """Guards that a slice is joined once for all cohorts at a cursor: the twin joins 64 frames for each client."""
    benchmark.group = f"64 publications joined for {clients} clients"
    log = filled_log(64)
    group = ReadyGroup(log, plain_frame, cohort_clients=128)

    def shared() -> int:
        size = 0
        for _ in range(0, clients, 128):
            size = len(group.slice_after(0, until=64, max_bytes=1 << 30).data)
        group.tidy()
        return size

    def single() -> int:
        size = 0
        for _ in range(clients):
            size = len(b"".join([one.encoded(plain_frame) for one in log.read(0, max_bytes=1 << 30)]))
        return size

    run = shared if way == "per cohort" else single
    assert benchmark.pedantic(run, rounds=5, warmup_rounds=1) == 64 * (4 + len(PAYLOAD))


def byte_by_byte(publications: list[Publication]) -> bytes:
    return bytes([byte for publication in publications for byte in publication.encoded(plain_frame)])


@pytest.mark.parametrize("way", ["join", "byte by byte"])
def test_join(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards that frames are joined as a whole: the twin looks at every byte."""
    benchmark.group = "64 frames joined"
    publications = filled_log(64).read(0, max_bytes=1 << 30)
    frames = [publication.encoded(plain_frame) for publication in publications]
    assert benchmark((lambda: b"".join(frames)) if way == "join" else (lambda: byte_by_byte(publications)))
