from __future__ import annotations

import tracemalloc

import pytest

from fanwise.core.channel import BURST_BYTES, BURST_MESSAGES, CHANNEL_BYTES, PUBLICATION_BYTES, Channel
from fanwise.core.hub import Hub
from fanwise.core.publication import Kind, Position, Publication
from fanwise.core.queue import Gap
from fanwise.core.reasons import GapReason
from fanwise.errors import ChannelLimitError, ChannelNameError


def make_hub(
    *, queue_messages: int = 10, history_messages: int = 5, history_seconds: float = 60.0, max_channels: int = 1000
) -> Hub:
    return Hub(
        queue_messages=queue_messages,
        queue_bytes=1000,
        history_messages=history_messages,
        history_bytes=500,
        history_seconds=history_seconds,
        max_channels=max_channels,
        cohort_clients=4,
    )


def publish(hub: Hub, channel: Channel, payload: bytes = b"x", *, time: float = 0.0) -> Publication:
    return hub.publish(channel, payload, kind=Kind.TEXT, time=time)


def test_a_bad_name_opens_nothing() -> None:
    """A refused name leaves no channel behind."""
    hub = make_hub()
    with pytest.raises(ChannelNameError):
        hub.channel("no good", time=0.0)
    assert len(hub) == 0


def test_a_new_queue_begins_at_the_head() -> None:
    """Who subscribes gets what comes, and nothing from before."""
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    publish(hub, channel)
    queue = hub.subscribe(channel).queue
    assert queue.empty()
    publish(hub, channel)
    assert queue.qsize() == 1


def begun(hub: Hub, *, published: int, trimmed_to: int = 100) -> Channel:
    """A channel with so many publications, of which the log retains the last `trimmed_to`."""
    channel = hub.channel("lobby", time=0.0)
    for _ in range(published):
        publish(hub, channel)
    channel.log.trim(max_messages=trimmed_to, max_bytes=1 << 30)
    return channel


def test_a_queue_goes_on_after_a_position() -> None:
    """It gets what came after it, and nothing is missing."""
    hub = make_hub()
    channel = begun(hub, published=3)
    for offset, missed in ((0, 3), (1, 2), (3, 0)):
        start = hub.subscribe(channel, since=Position(channel.log.epoch, offset))
        assert (start.position.offset, start.gap, start.queue.qsize()) == (offset, None, missed)


def test_what_the_log_has_let_go_of_is_one_gap() -> None:
    """From the position to the first that is retained; the last position without a gap is right before that."""
    hub = make_hub()
    channel = begun(hub, published=9, trimmed_to=3)
    start = hub.subscribe(channel, since=Position(channel.log.epoch, 2))
    assert start.position.offset == 2
    assert start.gap == Gap(3, 6, GapReason.HISTORY)
    assert start.queue.cursor == 6
    assert hub.subscribe(channel, since=Position(channel.log.epoch, 5)).gap == Gap(6, 6, GapReason.HISTORY)
    assert hub.subscribe(channel, since=Position(channel.log.epoch, 6)).gap is None


@pytest.mark.parametrize("published", [0, 9])
def test_a_position_of_another_log_is_a_gap_and_all_that_is_retained(published: int) -> None:
    """So is a place that this log never had. A new log that has lost nothing has an empty gap to tell."""
    hub = make_hub()
    channel = begun(hub, published=published, trimmed_to=3)
    for since in (Position("other", 5), Position(channel.log.epoch, published + 1)):
        start = hub.subscribe(channel, since=since)
        assert start.position == Position(channel.log.epoch, 0)
        assert start.gap == Gap(1, max(0, published - 3), GapReason.EPOCH)
        assert start.queue.qsize() == min(published, 3)


def test_a_queue_is_as_wide_as_what_it_begins_with() -> None:
    """Whoever comes back from far is not slow for that."""
    hub = make_hub(queue_messages=3, history_messages=100)
    channel = begun(hub, published=50)
    queue = hub.subscribe(channel, since=Position(channel.log.epoch, 10)).queue
    assert (queue.maxsize, queue.overflowed()) == (40, False)
    assert hub.subscribe(channel).queue.maxsize == 3


def test_a_log_retains_what_the_widest_queue_may_show() -> None:
    """A history shorter than the queues would turn windows into gaps."""
    channel = make_hub(queue_messages=10, history_messages=5).channel("lobby", time=0.0)
    assert channel.log.max_messages == 10 + BURST_MESSAGES
    assert channel.log.max_bytes == 1000 + BURST_BYTES


def test_what_is_unswept_is_what_clients_still_need() -> None:
    """It counts from the last sweep's end, in publications and in bytes; without clients nothing is owed."""
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    publish(hub, channel)
    assert channel.unswept == 0
    hub.subscribe(channel)
    publish(hub, channel, b"12345")
    publish(hub, channel, b"12345")
    assert channel.unswept == 2
    assert channel.crowded(messages=2, size_bytes=99)
    assert channel.crowded(messages=9, size_bytes=10)
    assert not channel.crowded(messages=3, size_bytes=11)
    channel.mark_swept(2)
    assert channel.unswept == 1
    channel.mark_swept(1)
    assert channel.unswept == 1


def test_a_channel_outlives_its_last_client_for_a_while() -> None:
    """Who comes back soon to a channel on which nothing was published finds the epoch that it knows."""
    hub = make_hub(history_seconds=60.0)
    channel = hub.channel("lobby", time=0.0)
    hub.unsubscribe(channel, hub.subscribe(channel).queue, time=10.0)
    hub.expire(69.0)
    assert hub.channel("lobby", time=69.0) is channel
    hub.expire(70.0)
    assert len(hub) == 0
    assert hub.charged_bytes == 0


def test_one_channel_more_takes_the_place_of_the_longest_idle() -> None:
    """If all have clients there is no room, and nothing else is lost by asking."""
    hub = make_hub(max_channels=2)
    one = hub.channel("one", time=0.0)
    hub.channel("two", time=1.0)
    hub.subscribe(one)
    hub.subscribe(hub.channel("three", time=2.0))
    assert {channel.name for channel in hub} == {"one", "three"}
    with pytest.raises(ChannelLimitError, match="all 2 channels"):
        hub.channel("four", time=3.0)
    assert hub.find("four") is None
    assert hub.channel("one", time=3.0) is one


def test_publications_leave_when_they_are_old() -> None:
    """All but the newest, an eighth of the time late at most, and not while somebody is behind."""
    hub = make_hub(queue_messages=100, history_messages=100, history_seconds=80.0)
    channel = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(channel).queue
    channel.sleepers[queue] = lambda: None
    for time in range(10):
        publish(hub, channel, time=float(time))
    hub.trim(10.0)
    hub.expire(85.0)
    assert [publication.time for publication in channel.log.read(channel.log.first - 1, max_bytes=1 << 30)] == [
        5,
        6,
        7,
        8,
        9,
    ]
    del channel.sleepers[queue]
    hub.expire(96.0)
    assert len(channel.log) == 5
    channel.sleepers[queue] = lambda: None
    hub.expire(106.0)
    assert len(channel.log) == 1
    assert not hub._aging


def test_a_channel_stays_for_its_history_seconds() -> None:
    """What was published is kept for those who come soon, and then it goes; the oldest first."""
    hub = make_hub(history_seconds=60.0)
    for name, time in (("old", 0.0), ("fresh", 30.0), ("busy", 0.0)):
        publish(hub, hub.channel(name, time=time), time=time)
    hub.subscribe(hub.channel("busy", time=0.0))
    hub.expire(59.0)
    assert len(hub) == 3
    hub.expire(60.0)
    assert {channel.name for channel in hub} == {"fresh", "busy"}
    hub.expire(1e9)
    assert {channel.name for channel in hub} == {"busy"}


def test_publishing_keeps_an_idle_channel() -> None:
    """The newest publication counts, not the opening."""
    hub = make_hub(history_seconds=60.0)
    channel = hub.channel("lobby", time=0.0)
    publish(hub, channel, time=0.0)
    publish(hub, channel, time=50.0)
    hub.expire(100.0)
    assert len(hub) == 1


def test_an_idle_channel_that_gets_a_client_does_not_expire() -> None:
    """A client is reason enough to stay, and offsets go on where they were."""
    hub = make_hub(history_seconds=60.0)
    publish(hub, hub.channel("lobby", time=0.0))
    channel = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(channel).queue
    hub.expire(1e9)
    assert publish(hub, channel).offset == 2
    hub.unsubscribe(channel, queue, time=0.0)
    assert hub.channel("lobby", time=0.0) is channel


def test_a_log_is_trimmed_one_audit_late() -> None:
    """What came since the last audit stays: clients that a burst has put behind get it, and then it goes."""
    hub = make_hub(queue_messages=10, history_messages=5)
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel)
    for _ in range(100):
        publish(hub, channel)
    hub.trim(0.0)
    assert len(channel.log) == 100
    hub.trim(0.0)
    assert len(channel.log) == 10
    assert not hub._grown


def test_a_log_that_nobody_is_behind_on_is_kept_short() -> None:
    """Without waiting for an audit, give or take 64 publications."""
    hub = make_hub(queue_messages=10, history_messages=5)
    channel = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(channel).queue
    channel.sleepers[queue] = lambda: None
    for _ in range(1000):
        publish(hub, channel)
        channel.mark_swept(channel.log.head)
        assert len(channel.log) < 10 + 64
    assert not channel.bursting()


def test_a_log_without_clients_is_trimmed_at_once() -> None:
    """There is nobody to be fair to."""
    hub = make_hub(queue_messages=10, history_messages=5)
    channel = hub.channel("lobby", time=0.0)
    for _ in range(100):
        publish(hub, channel)
    hub.trim(0.0)
    assert len(channel.log) == 10


def test_what_all_channels_take_is_known() -> None:
    """The sum that the memory limit is held against, without looking at each."""
    hub = make_hub()
    for name in ("one", "two"):
        publish(hub, hub.channel(name, time=0.0), b"12345")
    hub.trim(0.0)
    assert hub.charged_bytes == 2 * (CHANNEL_BYTES + PUBLICATION_BYTES + 5)
    hub.expire(1e9)
    assert hub.charged_bytes == 0


def test_a_log_is_trimmed_in_bytes_too() -> None:
    """By the same rule."""
    hub = make_hub(queue_messages=1000)
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel)
    for _ in range(30):
        publish(hub, channel, bytes(100))
    hub.trim(0.0)
    assert channel.log.retained_bytes == 3000
    hub.trim(0.0)
    assert channel.log.retained_bytes == 1000


def test_a_burst_is_noticed_when_somebody_is_behind() -> None:
    """Until the next audit; without anybody behind there is nothing to wait for."""
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    channel._audited -= BURST_MESSAGES
    assert not channel.bursting()
    queue = hub.subscribe(channel).queue
    assert channel.bursting()
    channel.sleepers[queue] = lambda: None
    assert not channel.bursting()
    del channel.sleepers[queue]
    publish(hub, channel)
    hub.trim(0.0)
    assert not channel.bursting()


def test_short_memory_forgets_idle_channels_first() -> None:
    """The longest idle, and no more than it takes; those with clients stay."""
    hub = make_hub()
    for name in ("busy", "old", "fresh"):
        publish(hub, hub.channel(name, time=0.0), bytes(10))
    hub.subscribe(hub.channel("busy", time=0.0))
    hub.trim(0.0)
    hub.fit(hub.charged_bytes - 5)
    assert {channel.name for channel in hub} == {"busy", "fresh"}
    hub.fit(0)
    assert {channel.name for channel in hub} == {"busy"}


def test_short_memory_halves_the_costliest_logs_next() -> None:
    """But keeps what ready clients have not got yet."""
    hub = make_hub(queue_messages=100, history_messages=100)
    large, small = hub.channel("large", time=0.0), hub.channel("small", time=0.0)
    for channel, count in ((large, 40), (small, 4)):
        hub.subscribe(channel)
        for _ in range(count):
            publish(hub, channel)
        channel.mark_swept(channel.log.head)
    hub.trim(0.0)
    hub.fit(hub.charged_bytes - 1)
    assert (len(large.log), len(small.log)) == (20, 4)
    for _ in range(15):
        publish(hub, large)
    hub.trim(0.0)
    hub.fit(0)
    assert (len(large.log), len(small.log)) == (17, 2)
    hub.fit(0)
    assert len(large.log) == 15


def test_memory_is_where_it_started_after_100_000_channels() -> None:
    """That came, had a publication and a client each, and went; measured from the second wave on."""
    hub = make_hub(history_seconds=60.0, max_channels=200_000)

    def wave(time: float) -> None:
        for number in range(100_000):
            channel = hub.channel(f"channel-{number}", time=time)
            publish(hub, channel, b"x" * 50, time=time)
            hub.unsubscribe(channel, hub.subscribe(channel).queue, time=time)
        hub.trim(time)
        assert len(hub) == 100_000
        while len(hub):
            hub.expire(time + 60.0)

    wave(0.0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    wave(100.0)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(hub) == 0
    assert hub.charged_bytes == 0
    assert peak > 50_000_000
    assert after - before < 300_000  # tables for a thousand


def test_leaving_a_channel_twice_is_leaving_it_once() -> None:
    """Also when it has been forgotten meanwhile, or opened anew for others."""
    hub = make_hub(history_seconds=60.0)
    old = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(old).queue
    hub.unsubscribe(old, queue, time=0.0)
    hub.expire(60.0)
    hub.unsubscribe(old, queue, time=60.0)
    fresh = hub.channel("lobby", time=60.0)
    hub.subscribe(fresh)
    hub.unsubscribe(old, queue, time=60.0)
    hub.expire(1e9)
    assert hub.find("lobby") is fresh
    assert fresh is not old
    assert hub.charged_bytes == fresh.cost_bytes


def test_channels_that_never_had_a_publication_make_room_first() -> None:
    """Whoever may only listen cannot push out what others have published."""
    hub = make_hub(max_channels=3)
    publish(hub, hub.channel("news", time=0.0))
    for number in range(100):
        channel = hub.channel(f"channel-{number}", time=1.0)
        hub.unsubscribe(channel, hub.subscribe(channel).queue, time=1.0)
    assert len(hub) == 3
    assert hub.find("news") is not None
    publish(hub, hub.channel("channel-99", time=2.0))
    hub.channel("other", time=3.0)
    assert hub.find("channel-98") is None
    hub.channel("another", time=3.0)
    assert {channel.name for channel in hub} == {"news", "channel-99", "another"}
