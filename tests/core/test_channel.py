from __future__ import annotations

import tracemalloc

from fanwise.core.channel import CHANNEL_BYTES, PUBLICATION_BYTES
from fanwise.core.encoding import json_frame, plain_frame, sse_chunk
from fanwise.core.hub import Hub
from fanwise.core.publication import Kind, Position
from fanwise.core.queue import Overflow

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
            self.hub.subscribe(channel.name, time=0.0)
            channel.group(plain_frame)


class Publications(Fill):
    """Small publications in two encodings."""

    def more(self, count: int) -> None:
        self.hub.retention.max_messages = self.hub.retention.max_bytes = 1 << 30
        channel = self.hub.channel("lobby", time=0.0)
        channel.log.max_messages = channel.log.max_bytes = 1 << 30
        for _ in range(count):
            publication = publish(self.hub, channel)
            publication.encoded(plain_frame)
            publication.encoded(json_frame)


def test_what_a_channel_and_a_publication_take_is_not_more_than_the_hub_thinks() -> None:
    """The memory limit is held against an estimate: it must not be too low, and not far too high."""
    assert CHANNEL_BYTES / 4 < measure(Channels, 500) <= CHANNEL_BYTES
    assert PUBLICATION_BYTES / 4 < measure(Publications, 3_000) <= PUBLICATION_BYTES


def test_what_a_channel_costs_is_what_it_retains_in_each_encoding() -> None:
    """As long as they are: line feeds are seven times as long in an event. What is dropped is not paid for."""
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    publication = publish(hub, channel, b"\n" * 100)
    assert channel.cost_bytes == CHANNEL_BYTES + PUBLICATION_BYTES + 100
    made = [publication.encoded(encoding) for encoding in (plain_frame, json_frame, sse_chunk)]
    assert len(made[2]) > 700
    assert channel.cost_bytes == CHANNEL_BYTES + PUBLICATION_BYTES + 100 + sum(map(len, made))
    hub.publish(channel, b"", kind=Kind.TEXT, time=0.0, key="k" * 10)
    channel.log.trim(max_messages=1, max_bytes=1000)
    assert channel.cost_bytes == CHANNEL_BYTES + PUBLICATION_BYTES + 40
    assert channel.log.extra_bytes == 40


def test_halving_keeps_the_newest_and_what_is_unswept() -> None:
    """The older half goes, down to what ready clients have not got."""
    hub = make_hub(queue_messages=100)
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel.name, time=0.0)
    for _ in range(10):
        publish(hub, channel)
    channel.mark_swept(3)
    channel.halve()
    assert channel.log.first == 4
    channel.mark_swept(10)
    for left in (3, 1, 1):
        channel.halve()
        assert len(channel.log) == left


def test_halving_that_drops_nothing_is_no_want_of_memory() -> None:
    """What had gone by the bounds of the log before did not go for want of memory."""
    hub = make_hub(queue_messages=100)
    channel = hub.channel("lobby", time=0.0)
    for _ in range(10):
        publish(hub, channel)
    channel.log.trim(max_messages=1, max_bytes=1_000)
    channel.halve()
    assert (channel.log.first, channel.let_go) == (10, 0)


def test_what_a_queue_came_with_is_not_its_lag() -> None:
    """A client that comes back from far has not fallen behind by that; from there on the furthest counts."""
    hub = make_hub(queue_messages=100, history_messages=100)
    channel = hub.channel("a", time=0.0)
    for _ in range(8):
        publish(hub, channel)
    queue = hub.subscribe(channel.name, since=Position(channel.log.epoch, 0), time=0.0).queue
    channel.note_lag(queue, 8)
    assert (queue.peak, hub.tally.peak_lag.sum) == (0, 0)
    channel.note_lag(queue, 9)
    channel.note_lag(queue, 3)
    assert (queue.peak, hub.tally.peak_lag.sum, hub.tally.peak_lag.count) == (9, 9, 1)


def test_what_was_skipped_was_behind_too() -> None:
    """A batch tells how far behind its queue was: what it hands out, what it leaves out, and what is still to come."""
    hub = make_hub(queue_messages=5, history_messages=100)
    hub.namespaces.default.overflow = Overflow.DROP_OLDEST
    channel = hub.channel("a", time=0.0)
    queue = hub.subscribe(channel.name, time=0.0).queue
    for _ in range(20):
        publish(hub, channel)
    channel.count_batch(queue, queue.get_nowait(max_bytes=2))
    assert queue.peak == 20
    assert (hub.tally.dropped["gap_slow"], channel.skipped) == (15, 15)


def test_a_channel_outruns_its_clients_when_most_are_behind_and_much_has_come_since() -> None:
    """One client never counts, nor does a half; who has followed lately gives it a new start."""
    hub = make_hub(queue_messages=100)
    starts = [hub.subscribe("a", time=0.0) for _ in range(4)]
    channel = starts[0].channel
    for start in starts[:2]:
        channel.sleepers[start.queue] = lambda: None
    for _ in range(5):
        publish(hub, channel, b"12345")
    assert not channel.outruns(messages=3, size_bytes=100)
    del channel.sleepers[starts[0].queue]
    assert channel.most_behind()
    for _ in range(3):
        publish(hub, channel, b"12345")
    assert not channel.outruns(messages=3, size_bytes=15)
    publish(hub, channel, b"12345")
    assert channel.outruns(messages=3, size_bytes=100)
    assert channel.outruns(messages=100, size_bytes=15)
    hub.retention.trim(0.0)
    assert [channel.outrun] == [True]
    channel.sleepers[starts[0].queue] = lambda: None
    hub.retention.trim(0.0)
    assert [channel.outrun] == [False]
    del channel.sleepers[starts[0].queue]
    assert not channel.outruns(messages=3, size_bytes=15)
    alone = hub.subscribe("b", time=0.0).channel
    publish(hub, alone)
    assert not alone.most_behind()


def test_a_channel_has_one_ready_group_for_each_encoding() -> None:
    """Made when it is first asked for, and kept."""
    channel = make_hub().channel("a", time=0.0)
    group = channel.group(plain_frame)
    assert channel.group(plain_frame) is group
    assert channel.group(json_frame) is not group
    assert set(channel.groups) == {plain_frame, json_frame}


def test_deliveries_are_counted_for_the_channel_and_for_the_hub() -> None:
    """Publications once per client, and bytes on the wire."""
    hub = make_hub()
    for name, deliveries in (("a", 2), ("b", 3)):
        hub.channel(name, time=0.0).count(deliveries, sent_bytes=10)
    assert [channel.deliveries for channel in hub] == [2, 3]
    assert (hub.tally.deliveries, hub.tally.delivered_bytes) == (5, 20)
