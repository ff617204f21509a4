"""What a frame of the engine costs the worker that receives it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fanwise.backplane.counts import Counts
from fanwise.backplane.redis.link import Link
from fanwise.backplane.redis.tail import Tail
from fanwise.broadcaster.sharing import Sharing

from .harness import Stage, TakesAll, stage

CHANNELS = [f"c{number}" for number in range(64)]
EPOCH = "7b54f2d7a4f46"
PAYLOAD = b"x" * 128
GENERATION = 1_763_812_800_000


def frame(number: int, offset: int) -> bytes:
    """A publication to each channel, as `publish.lua` makes it."""
    texts = [b"%b %d 1763812800000 %b T\n%b" % (EPOCH.encode(), offset, one.encode(), PAYLOAD) for one in CHANNELS]
    sizes = b" ".join(b"%d" % len(text) for text in texts)
    return b"%d %d 0123456789ab %b\n%b" % (GENERATION, number, sizes, b"".join(texts))


@pytest.mark.parametrize("way", ["not open", "open", "one client each"])
def test_a_frame_of_64_publications(benchmark: BenchmarkFixture, way: str) -> None:
    """Guards reading a frame and appending what it has: a worker that has no such channel only reads it."""
    benchmark.group = "a frame of 64 publications"
    with stage() as place:
        hub = place.broadcaster._hub
        for name in CHANNELS if way != "not open" else ():
            hub.adopt(name, epoch=EPOCH, start=0, time=0.0)
        for name in CHANNELS if way == "one client each" else ():
            place.enter(TakesAll(), channel=name)
        tail = place.loop.run_until_complete(listening(place))
        frames = frames_of()

        def receive(pushed: bytes) -> None:
            tail.pushed(pushed)
            place.loop.turn()

        benchmark.pedantic(receive, setup=lambda: ((next(frames),), {}), rounds=200)
        channel = hub.find("c7")
        assert (0 if channel is None else channel.log.head) == (0 if way == "not open" else tail.number - 1)


async def listening(place: Stage) -> Tail:
    """A shard's tail whose frames go to the broadcaster; the frame that it has is the first."""
    node = place.broadcaster
    sharing = Sharing(cast("Any", GoesOn()), node._hub, node._publisher, cast("Any", None))
    tail = Tail("live", arrived=sharing.arrived, interrupted=lambda: None, settled=lambda: None, counts=Counts())
    tail.verified(Link(lambda _: None, lambda _: None), GENERATION, 1)
    return tail


class GoesOn:
    """A backplane that has nothing to read on."""

    counts = Counts()

    def __init__(self) -> None:
        self.counts = Counts()

    def go_on(self) -> None: ...

    def publish(self, outgoing: object) -> None: ...


def frames_of() -> Iterator[bytes]:
    """The shard's frames, from the second on."""
    for offset in count(1):
        yield frame(offset + 1, offset)
