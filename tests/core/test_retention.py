from __future__ import annotations

import tracemalloc

from fanwise.core.channel import CHANNEL_BYTES, PUBLICATION_BYTES
from fanwise.core.namespaces import BURST_MESSAGES

from .test_hub import make_hub, publish


def test_a_channel_outlives_its_last_client_for_a_while() -> None:
    """Who comes back soon to a channel on which nothing was published finds the epoch that it knows."""
    hub = make_hub(history_seconds=60.0)
    channel = hub.channel("lobby", time=0.0)
    hub.unsubscribe(channel, hub.subscribe(channel.name, time=0.0).queue, time=10.0)
    hub.retention.expire(69.0)
    assert hub.channel("lobby", time=69.0) is channel
    hub.retention.expire(70.0)
    assert len(hub) == 0
    assert hub.retention.charged_bytes == 0


def test_publications_leave_when_they_are_old() -> None:
    """All but the newest, an eighth of the time late at most, and not while somebody is behind."""
    hub = make_hub(queue_messages=100, history_messages=100, history_seconds=80.0)
    channel = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(channel.name, time=0.0).queue
    channel.sleepers[queue] = lambda: None
    for time in range(10):
        publish(hub, channel, time=float(time))
    hub.retention.trim(10.0)
    hub.retention.expire(85.0)
    assert [publication.time for publication in channel.log.read(channel.log.first - 1, max_bytes=1 << 30)] == [
        5,
        6,
        7,
        8,
        9,
    ]
    del channel.sleepers[queue]
    hub.retention.expire(96.0)
    assert len(channel.log) == 5
    channel.sleepers[queue] = lambda: None
    hub.retention.expire(106.0)
    assert len(channel.log) == 1
    assert not channel.namespace.shelf.aging


def test_a_channel_stays_for_its_history_seconds() -> None:
    """What was published is kept for those who come soon, and then it goes; the oldest first."""
    hub = make_hub(history_seconds=60.0)
    for name, time in (("old", 0.0), ("fresh", 30.0), ("busy", 0.0)):
        publish(hub, hub.channel(name, time=time), time=time)
    hub.subscribe("busy", time=0.0)
    hub.retention.expire(59.0)
    assert len(hub) == 3
    hub.retention.expire(60.0)
    assert {channel.name for channel in hub} == {"fresh", "busy"}
    hub.retention.expire(1e9)
    assert {channel.name for channel in hub} == {"busy"}


def test_a_publication_makes_its_channel_the_last_to_go() -> None:
    """Room is made where nothing came for longest, whichever channel was there first."""
    hub = make_hub(max_channels=2)
    for name in ("a", "b", "a"):
        publish(hub, hub.channel(name, time=0.0))
    hub.channel("c", time=0.0)
    assert {channel.name for channel in hub} == {"a", "c"}


def test_publishing_keeps_an_idle_channel() -> None:
    """The newest publication counts, not the opening."""
    hub = make_hub(history_seconds=60.0)
    channel = hub.channel("lobby", time=0.0)
    publish(hub, channel, time=0.0)
    publish(hub, channel, time=50.0)
    hub.retention.expire(100.0)
    assert len(hub) == 1


def test_an_idle_channel_that_gets_a_client_does_not_expire() -> None:
    """A client is reason enough to stay, and offsets go on where they were."""
    hub = make_hub(history_seconds=60.0)
    publish(hub, hub.channel("lobby", time=0.0))
    channel = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(channel.name, time=0.0).queue
    hub.retention.expire(1e9)
    assert publish(hub, channel).offset == 2
    hub.unsubscribe(channel, queue, time=0.0)
    assert hub.channel("lobby", time=0.0) is channel


def test_a_log_is_trimmed_one_audit_late() -> None:
    """What came since the last audit stays: clients that a burst has put behind get it, and then it goes."""
    hub = make_hub(queue_messages=10, history_messages=5)
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel.name, time=0.0)
    for _ in range(100):
        publish(hub, channel)
    hub.retention.trim(0.0)
    assert len(channel.log) == 100
    hub.retention.trim(0.0)
    assert len(channel.log) == 10
    assert not hub.retention.grown


def test_a_log_without_clients_is_trimmed_at_once() -> None:
    """There is nobody to be fair to."""
    hub = make_hub(queue_messages=10, history_messages=5)
    channel = hub.channel("lobby", time=0.0)
    for _ in range(100):
        publish(hub, channel)
    hub.retention.trim(0.0)
    assert len(channel.log) == 10


def test_what_all_channels_take_is_known() -> None:
    """The sum that the memory limit is held against, without looking at each."""
    hub = make_hub()
    for name in ("one", "two"):
        publish(hub, hub.channel(name, time=0.0), b"12345")
    hub.retention.trim(0.0)
    assert hub.retention.charged_bytes == 2 * (CHANNEL_BYTES + PUBLICATION_BYTES + 5)
    hub.retention.expire(1e9)
    assert hub.retention.charged_bytes == 0


def test_a_log_is_trimmed_in_bytes_too() -> None:
    """By the same rule."""
    hub = make_hub(queue_messages=1000)
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel.name, time=0.0)
    for _ in range(30):
        publish(hub, channel, bytes(100))
    hub.retention.trim(0.0)
    assert channel.log.retained_bytes == 3000
    hub.retention.trim(0.0)
    assert channel.log.retained_bytes == 1000


def test_a_burst_is_noticed_when_somebody_is_behind() -> None:
    """Until the next audit; without anybody behind there is nothing to wait for."""
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    channel._audited -= BURST_MESSAGES
    assert not channel.bursting()
    queue = hub.subscribe(channel.name, time=0.0).queue
    assert channel.bursting()
    channel.sleepers[queue] = lambda: None
    assert not channel.bursting()
    del channel.sleepers[queue]
    publish(hub, channel)
    hub.retention.trim(0.0)
    assert not channel.bursting()


def test_short_memory_forgets_idle_channels_first() -> None:
    """The longest idle, and no more than it takes; those with clients stay."""
    hub = make_hub()
    for name in ("busy", "old", "fresh"):
        publish(hub, hub.channel(name, time=0.0), bytes(10))
    hub.subscribe("busy", time=0.0)
    hub.retention.trim(0.0)
    hub.retention.fit(hub.retention.charged_bytes - 5)
    assert {channel.name for channel in hub} == {"busy", "fresh"}
    hub.retention.fit(0)
    assert {channel.name for channel in hub} == {"busy"}


def test_short_memory_halves_the_costliest_logs_next() -> None:
    """But keeps what ready clients have not got yet."""
    hub = make_hub(queue_messages=100, history_messages=100)
    large, small = hub.channel("large", time=0.0), hub.channel("small", time=0.0)
    for channel, count in ((large, 40), (small, 4)):
        hub.subscribe(channel.name, time=0.0)
        for _ in range(count):
            publish(hub, channel)
        channel.mark_swept(channel.log.head)
    hub.retention.trim(0.0)
    hub.retention.fit(hub.retention.charged_bytes - 1)
    assert (len(large.log), len(small.log)) == (20, 4)
    for _ in range(15):
        publish(hub, large)
    hub.retention.trim(0.0)
    hub.retention.fit(0)
    assert (len(large.log), len(small.log)) == (17, 2)
    hub.retention.fit(0)
    assert len(large.log) == 15


def test_memory_is_where_it_started_after_3_000_channels() -> None:
    """That came, had a publication and a client each, and went; measured from the second wave on."""
    hub = make_hub(history_seconds=60.0, max_channels=6_000)

    def wave(time: float) -> None:
        for number in range(3_000):
            channel = hub.channel(f"channel-{number}", time=time)
            publish(hub, channel, b"x" * 50, time=time)
            hub.unsubscribe(channel, hub.subscribe(channel.name, time=0.0).queue, time=time)
        hub.retention.trim(time)
        assert len(hub) == 3_000
        while len(hub):
            hub.retention.expire(time + 60.0)

    wave(0.0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    wave(100.0)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(hub) == 0
    assert hub.retention.charged_bytes == 0
    assert peak > 1_500_000
    assert after - before < 90_000  # tables for a thousand, and 30 bytes for each at most


def test_leaving_a_channel_twice_is_leaving_it_once() -> None:
    """Also when it has been forgotten meanwhile, or opened anew for others."""
    hub = make_hub(history_seconds=60.0)
    old = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(old.name, time=0.0).queue
    hub.unsubscribe(old, queue, time=0.0)
    hub.retention.expire(60.0)
    hub.unsubscribe(old, queue, time=60.0)
    fresh = hub.channel("lobby", time=60.0)
    hub.subscribe(fresh.name, time=0.0)
    hub.unsubscribe(old, queue, time=60.0)
    hub.retention.expire(1e9)
    assert hub.find("lobby") is fresh
    assert fresh is not old
    assert hub.retention.charged_bytes == fresh.cost_bytes


def test_the_age_of_a_log_is_looked_at_now_and_then() -> None:
    """Eight times per `history_seconds`, and not at each audit."""
    hub = make_hub(history_seconds=80.0, queue_messages=100, history_messages=100)
    start = hub.subscribe("lobby", time=0.0)
    start.channel.sleepers[start.queue] = lambda: None
    for time in (0.0, 1.0):
        publish(hub, start.channel, time=time)
    hub.retention.trim(75.0)
    hub.retention.expire(84.0)
    assert len(start.channel.log) == 2, "looked at 9 s ago"
    hub.retention.expire(85.0)
    assert len(start.channel.log) == 1
