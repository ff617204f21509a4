"""What a frame of the engine costs the worker that receives it."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .frames_of_engine import PUBLICATIONS, Receiver
from .harness import TakesAll, stage

MANY = [f"c{number}" for number in range(PUBLICATIONS)]


@pytest.mark.parametrize("way", ["not open", "open", "one client each", "one channel"])
def test_a_frame_of_64_publications(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards reading a frame and appending what it has: a worker that has no such channel only reads it."""
    benchmark.group = "a frame of 64 publications"
    channels = ["lobby"] if way == "one channel" else MANY
    with stage() as place:
        receiver = Receiver(place, channels, opened=way != "not open")
        for name in channels if way in ("one client each", "one channel") else ():
            place.enter(TakesAll(), channel=name)
        place.loop.run_until_complete(receiver.listen())
        benchmark.pedantic(receiver.hear, setup=lambda: ((receiver.next_frame(),), {}), rounds=200)
        heard = receiver.counts.received
        assert heard >= PUBLICATIONS
        assert receiver.counts.skipped == (heard if way == "not open" else 0)
