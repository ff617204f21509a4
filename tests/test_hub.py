from __future__ import annotations

import pytest

from server.errors import ChannelNameError
from server.hub import BURST_BYTES, BURST_MESSAGES, Channel, Hub
from server.publication import Publication


def make_hub(*, queue_messages: int = 10, history_messages: int = 5, history_seconds: float = 60.0) -> Hub:
    return Hub(
        queue_messages=queue_messages,
        queue_bytes=1000,
        history_messages=history_messages,
        history_bytes=500,
        history_seconds=history_seconds,
        cohort_clients=4,
    )


def publish(hub: Hub, channel: Channel, payload: bytes = b"x", *, time: float = 0.0) -> Publication:
    return hub.publish(channel, payload, binary=False, time=time)


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
    queue = hub.subscribe(channel)
    assert queue.empty()
    publish(hub, channel)
    assert queue.qsize() == 1


def test_a_queue_may_begin_in_the_past() -> None:
    """After any offset that there is, and not in the future."""
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    for _ in range(3):
        publish(hub, channel)
    assert hub.subscribe(channel, since=1).qsize() == 2
    assert hub.subscribe(channel, since=3).empty()
    for since in (-1, 4):
        with pytest.raises(IndexError, match=r"outside 0\.\.3"):
            hub.subscribe(channel, since=since)


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


def test_a_channel_goes_with_its_last_client_if_it_retains_nothing() -> None:
    """Clients that come and go on any number of channels leave nothing behind."""
    hub = make_hub()
    for number in range(100):
        channel = hub.channel(f"channel-{number}", time=0.0)
        queue = hub.subscribe(channel)
        hub.unsubscribe(channel, queue, time=0.0)
    assert len(hub) == 0
    assert not hub._idle


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
    queue = hub.subscribe(channel)
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
    hub.trim()
    assert len(channel.log) == 100
    hub.trim()
    assert len(channel.log) == 10
    assert not hub._grown


def test_a_log_that_nobody_is_behind_on_is_kept_short() -> None:
    """Without waiting for an audit, give or take 64 publications."""
    hub = make_hub(queue_messages=10, history_messages=5)
    channel = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(channel)
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
    hub.trim()
    assert len(channel.log) == 10


def test_retained_bytes_of_all_channels() -> None:
    """The sum that the memory limit is held against."""
    hub = make_hub()
    for name in ("one", "two"):
        publish(hub, hub.channel(name, time=0.0), b"12345")
    assert hub.retained_bytes == 10


def test_a_log_is_trimmed_in_bytes_too() -> None:
    """By the same rule."""
    hub = make_hub(queue_messages=1000)
    channel = hub.channel("lobby", time=0.0)
    hub.subscribe(channel)
    for _ in range(30):
        publish(hub, channel, bytes(100))
    hub.trim()
    assert channel.log.retained_bytes == 3000
    hub.trim()
    assert channel.log.retained_bytes == 1000


def test_a_burst_is_noticed_when_somebody_is_behind() -> None:
    """Until the next audit; without anybody behind there is nothing to wait for."""
    hub = make_hub()
    channel = hub.channel("lobby", time=0.0)
    channel._audited -= BURST_MESSAGES
    assert not channel.bursting()
    queue = hub.subscribe(channel)
    assert channel.bursting()
    channel.sleepers[queue] = lambda: None
    assert not channel.bursting()
    del channel.sleepers[queue]
    publish(hub, channel)
    hub.trim()
    assert not channel.bursting()


def test_short_memory_forgets_idle_channels_first() -> None:
    """The longest idle, and no more than it takes; those with clients stay."""
    hub = make_hub()
    for name in ("busy", "old", "fresh"):
        publish(hub, hub.channel(name, time=0.0), bytes(10))
    hub.subscribe(hub.channel("busy", time=0.0))
    hub.relieve(5)
    assert {channel.name for channel in hub} == {"busy", "fresh"}
    hub.relieve(1000)
    assert {channel.name for channel in hub} == {"busy"}
