"""What comes from an engine, on its way into the logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.frames_of_engine import PUBLICATIONS, Receiver
from benchmarks.harness import TakesAll, stage

from . import Scenario, Step

MANY = tuple(f"c{number}" for number in range(PUBLICATIONS))


@contextmanager
def receive(channels: tuple[str, ...], *, opened: bool) -> Iterator[Step]:
    """Frames of 64 publications: little for each that nobody here wants, and hardly more for a run than for one."""
    with stage() as place:
        receiver = Receiver(place, channels, opened=opened)
        for name in channels if opened else ():
            place.enter(TakesAll(), channel=name)
        place.loop.run_until_complete(receiver.listen())

        def step() -> int:
            before = receiver.counts.received
            for _ in range(4):
                receiver.hear(receiver.next_frame())
            return receiver.counts.received - before

        yield step


SCENARIOS = (
    Scenario("receive-64-channels", partial(receive, MANY, opened=True), 256),
    Scenario("receive-one-channel", partial(receive, ("lobby",), opened=True), 256),
    Scenario("receive-not-open", partial(receive, MANY, opened=False), 256),
)
