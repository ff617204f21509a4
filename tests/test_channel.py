from __future__ import annotations

import tracemalloc

from server.channel import CHANNEL_BYTES, PUBLICATION_BYTES
from server.encoding import json_frame, plain_frame
from server.hub import Hub

from .test_hub import make_hub, publish


def measure(fill: type[Fill], count: int) -> float:
    """Bytes that Python has allocated for each of `count` more, in a hub that has some already."""
    tracemalloc.start()
    filled = fill()
    filled.more(count)
    before, _ = tracemalloc.get_traced_memory()
    filled.more(count)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / count


class Fill:
    """Something to measure."""

    def __init__(self) -> None:
        self.hub: Hub = make_hub(queue_messages=1 << 20, max_channels=1 << 20)
        self.count = 0

    def more(self, count: int) -> None:
        raise NotImplementedError


class Channels(Fill):
    """Empty channels with a client each."""

    def more(self, count: int) -> None:
        for _ in range(count):
            self.count += 1
            channel = self.hub.channel(f"channel-{self.count}", time=0.0)
            self.hub.subscribe(channel)
            channel.group(plain_frame)


class Publications(Fill):
    """Small publications in two encodings."""

    def more(self, count: int) -> None:
        self.hub.log_messages = self.hub.log_bytes = 1 << 30
        channel = self.hub.channel("lobby", time=0.0)
        channel.log.max_messages = channel.log.max_bytes = 1 << 30
        for _ in range(count):
            publication = publish(self.hub, channel)
            publication.encoded(plain_frame)
            publication.encoded(json_frame)


def test_what_a_channel_and_a_publication_take_is_not_more_than_the_hub_thinks() -> None:
    """The memory limit is held against an estimate: it must not be too low, and not far too high."""
    assert CHANNEL_BYTES / 4 < measure(Channels, 2000) <= CHANNEL_BYTES
    assert PUBLICATION_BYTES / 4 < measure(Publications, 20_000) <= PUBLICATION_BYTES


def test_what_a_channel_costs_grows_with_what_it_retains_and_in_how_many_encodings() -> None:
    """Each encoding in use keeps its own bytes."""
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    publish(hub, channel, bytes(100))
    assert channel.cost_bytes == CHANNEL_BYTES + PUBLICATION_BYTES + 100
    for encoding in (plain_frame, json_frame):
        channel.group(encoding)
    assert channel.cost_bytes == CHANNEL_BYTES + PUBLICATION_BYTES + 300


def test_halving_keeps_the_newest_and_what_is_unswept() -> None:
    """The older half goes, down to what ready clients have not got."""
    hub = make_hub(queue_messages=100)
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel)
    for _ in range(10):
        publish(hub, channel)
    channel.mark_swept(3)
    channel.halve()
    assert channel.log.first == 4
    channel.mark_swept(10)
    for left in (3, 1, 1):
        channel.halve()
        assert len(channel.log) == left
