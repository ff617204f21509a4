"""Compression once for all: what a compressed publication costs beside the same one as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.harness import TakesAll, devnull, stage
from benchmarks.ready_channel import QUOTES
from fanwise.core.deflate import Deflater
from fanwise.core.dialect import JSON

from . import Scenario, Step

CLIENTS = 1000


@contextmanager
def sweep(*, agreed: bool) -> Iterator[Step]:
    """A kilobyte of JSON to 1,000 clients: encoded, and compressed if that was agreed on, once."""
    with stage() as place, devnull(CLIENTS) as fds:
        dialect = Deflater(place.broadcaster.tally, from_bytes=200, level=1).dialect(JSON, agreed=agreed)
        for fd in fds:
            place.enter(TakesAll(fd), dialect=dialect)
        channel = place.broadcaster._hub.channel("lobby", time=0.0)

        def step() -> int:
            before = channel.deliveries
            place.broadcaster.publish_nowait("lobby", QUOTES)
            place.sweep(channel)
            return channel.deliveries - before

        yield step


SCENARIOS = (
    Scenario("sweep-json-1k", partial(sweep, agreed=False), does=CLIENTS),
    Scenario("sweep-json-1k-deflated", partial(sweep, agreed=True), does=CLIENTS),
)
