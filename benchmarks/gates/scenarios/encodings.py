"""What a publication costs before anybody gets it: the log, the frame, the slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.ready_channel import PAYLOAD
from fanwise.core.encoding import json_frame, plain_frame, sse_chunk
from fanwise.core.group import ReadyGroup
from fanwise.core.log import Log
from fanwise.core.publication import Kind, Publication

from . import Scenario, Step

Encoding = Callable[[Publication], bytes]


@contextmanager
def encode(encoding: Encoding) -> Iterator[Step]:
    """64 publications, each asked for its bytes 10 times: they are made once."""

    def step() -> int:
        size = 0
        for offset in range(1000, 1064):
            publication = Publication("lobby", "0123456789ab", offset, PAYLOAD, Kind.TEXT, 0.0)
            for _ in range(10):
                size += len(publication.encoded(encoding))
        return size // 640

    yield step


@contextmanager
def append() -> Iterator[Step]:
    """256 publications into a full log, which lets go of as many."""
    log = Log("lobby", epoch="0123456789ab", max_messages=1000, max_bytes=1 << 22)
    for _ in range(1000):
        log.append(PAYLOAD, kind=Kind.TEXT, time=0.0)

    def step() -> int:
        for _ in range(256):
            log.append(PAYLOAD, kind=Kind.TEXT, time=0.0)
        return len(log)

    yield step


@contextmanager
def slice_and_join() -> Iterator[Step]:
    """1,024 encoded publications in slices of 64, each asked for by 4 cohorts: read and joined once."""
    log = Log("lobby", epoch="0123456789ab", max_messages=1024, max_bytes=1 << 22)
    for _ in range(1024):
        log.append(PAYLOAD, kind=Kind.TEXT, time=0.0).encoded(plain_frame)
    group = ReadyGroup(log, plain_frame, cohort_clients=128)

    def step() -> int:
        size, cursor = 0, 0
        while cursor < log.head:
            for _ in range(4):
                part = group.slice_after(cursor, until=log.head, max_bytes=64 * len(PAYLOAD))
                size += len(part.data)
            cursor = part.after
        group.tidy()
        return size

    yield step


SCENARIOS = (
    Scenario("append", append, does=1000),
    Scenario("encode-plain", partial(encode, plain_frame), does=141),
    Scenario("encode-json", partial(encode, json_frame), does=199),
    Scenario("encode-sse", partial(encode, sse_chunk), does=173),
    Scenario("slice-and-join", slice_and_join, does=4 * 1024 * 141),
)
