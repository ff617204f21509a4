from __future__ import annotations

import pytest

from fanwise.core.channel import Channel
from fanwise.core.hub import Hub
from fanwise.core.namespaces import BURST_BYTES, BURST_MESSAGES
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
    queue = hub.subscribe(channel.name, time=0.0).queue
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
        start = hub.subscribe(channel.name, since=Position(channel.log.epoch, offset), time=0.0)
        assert (start.position.offset, start.gap, start.queue.qsize()) == (offset, None, missed)


def test_what_the_log_has_let_go_of_is_one_gap() -> None:
    """From the position to the first that is retained; the last position without a gap is right before that."""
    hub = make_hub()
    channel = begun(hub, published=9, trimmed_to=3)
    start = hub.subscribe(channel.name, since=Position(channel.log.epoch, 2), time=0.0)
    assert start.position.offset == 2
    assert start.gap == Gap(3, 6, GapReason.HISTORY)
    assert start.queue.cursor == 6
    assert hub.subscribe(channel.name, since=Position(channel.log.epoch, 5), time=0.0).gap == Gap(
        6, 6, GapReason.HISTORY
    )
    assert hub.subscribe(channel.name, since=Position(channel.log.epoch, 6), time=0.0).gap is None


@pytest.mark.parametrize("published", [0, 9])
def test_a_position_of_another_log_is_a_gap_and_all_that_is_retained(published: int) -> None:
    """So is a place that this log never had. A new log that has lost nothing has an empty gap to tell."""
    hub = make_hub()
    channel = begun(hub, published=published, trimmed_to=3)
    for since in (Position("other", 5), Position(channel.log.epoch, published + 1)):
        start = hub.subscribe(channel.name, since=since, time=0.0)
        assert start.position == Position(channel.log.epoch, 0)
        assert start.gap == Gap(1, max(0, published - 3), GapReason.EPOCH)
        assert start.queue.qsize() == min(published, 3)


def test_a_queue_is_as_wide_as_what_it_begins_with() -> None:
    """Whoever comes back from far is not slow for that."""
    hub = make_hub(queue_messages=3, history_messages=100)
    channel = begun(hub, published=50)
    queue = hub.subscribe(channel.name, since=Position(channel.log.epoch, 10), time=0.0).queue
    assert (queue.maxsize, queue.overflowed()) == (40, False)
    assert hub.subscribe(channel.name, time=0.0).queue.maxsize == 3


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
    hub.subscribe(channel.name, time=0.0)
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


def test_one_channel_more_takes_the_place_of_the_longest_idle() -> None:
    """If all have clients there is no room, and nothing else is lost by asking."""
    hub = make_hub(max_channels=2)
    one = hub.channel("one", time=0.0)
    hub.channel("two", time=1.0)
    hub.subscribe(one.name, time=0.0)
    hub.subscribe("three", time=2.0)
    assert {channel.name for channel in hub} == {"one", "three"}
    with pytest.raises(ChannelLimitError, match="all 2 channels"):
        hub.channel("four", time=3.0)
    assert hub.find("four") is None
    assert hub.channel("one", time=3.0) is one


def test_a_log_that_nobody_is_behind_on_is_kept_short() -> None:
    """Without waiting for an audit, give or take 64 publications."""
    hub = make_hub(queue_messages=10, history_messages=5)
    channel = hub.channel("lobby", time=0.0)
    queue = hub.subscribe(channel.name, time=0.0).queue
    channel.sleepers[queue] = lambda: None
    for _ in range(1000):
        publish(hub, channel)
        channel.mark_swept(channel.log.head)
        assert len(channel.log) < 10 + 64
    assert not channel.bursting()


def test_channels_that_never_had_a_publication_make_room_first() -> None:
    """Whoever may only listen cannot push out what others have published."""
    hub = make_hub(max_channels=3)
    publish(hub, hub.channel("news", time=0.0))
    for number in range(100):
        channel = hub.channel(f"channel-{number}", time=1.0)
        hub.unsubscribe(channel, hub.subscribe(channel.name, time=0.0).queue, time=1.0)
    assert len(hub) == 3
    assert hub.find("news") is not None
    publish(hub, hub.channel("channel-99", time=2.0))
    hub.channel("other", time=3.0)
    assert hub.find("channel-98") is None
    hub.channel("another", time=3.0)
    assert {channel.name for channel in hub} == {"news", "channel-99", "another"}


def test_a_channel_with_another_client_stays_as_it_is() -> None:
    """Only the last one to leave makes it idle."""
    hub = make_hub(history_seconds=60.0)
    starts = [hub.subscribe("lobby", time=0.0) for _ in range(2)]
    channel = starts[0].channel
    groups = channel.groups
    hub.unsubscribe(channel, starts[0].queue, time=1.0)
    assert (list(channel.queues), channel.groups) == ([starts[1].queue], groups)
    hub.retention.expire(1e9)
    assert hub.find("lobby") is channel


def test_a_channel_can_begin_anywhere() -> None:
    """Under an epoch that was given elsewhere; positions before its start are not here."""
    hub = make_hub()
    channel = hub.adopt("lobby", epoch="given", start=7, time=0.0)
    assert publish(hub, channel).position == Position("given", 8)
    start = hub.subscribe("lobby", since=Position("given", 5), time=0.0)
    assert (start.gap, start.queue.qsize()) == (Gap(6, 7, GapReason.HISTORY), 1)
    with pytest.raises(ChannelNameError):
        hub.adopt("no good", epoch="given", start=7, time=0.0)


@pytest.mark.parametrize(("epoch", "start"), [("given", 9), ("another", 0), ("another", 4)])
@pytest.mark.parametrize("appended", [0, 2, 9])
def test_clients_move_to_a_successor(epoch: str, start: int, appended: int) -> None:
    """With everything of the old log, and one gap for what the new one lacks; then the old one is gone."""
    hub = make_hub()
    old = hub.adopt("lobby", epoch="given", start=4, time=0.0)
    queues = [hub.subscribe("lobby", time=0.0).queue for _ in range(2)]
    publish(hub, old)
    new = hub.succeed(old, epoch=epoch, start=start, time=0.0)
    assert (hub.find("lobby"), old.successor, list(hub.retired)) == (new, new, [old])
    for _ in range(appended):
        publish(hub, new)
    new.log.trim(max_messages=5, max_bytes=999)
    for queue in queues:
        assert len(queue.get_nowait(max_bytes=99).publications) == 1
        moved = hub.follow(old, queue, time=0.0)
        before = new.log.first - 1
        assert moved.gap == (
            Gap(6, before, GapReason.BACKPLANE) if epoch == "given" else Gap(1, before, GapReason.EPOCH)
        )
        assert (moved.channel, moved.queue.qsize()) == (new, min(appended, 5))
    assert (list(hub.retired), list(new.queues.values()), old.charged_bytes) == ([], [None, None], 0)
    hub.retention.trim(0.0)
    assert hub.retention.charged_bytes == new.cost_bytes


def test_a_successor_can_have_one() -> None:
    """Clients that have not moved by then skip it, and nothing stays behind."""
    hub = make_hub()
    first = hub.adopt("lobby", epoch="a", start=0, time=0.0)
    queue = hub.subscribe("lobby", time=0.0).queue
    second = hub.succeed(first, epoch="b", start=0, time=0.0)
    third = hub.succeed(second, epoch="a", start=3, time=0.0)
    assert (first.successor, second.successor, list(hub.retired)) == (third, third, [first])
    assert hub.follow(first, queue, time=0.0).gap == Gap(1, 3, GapReason.BACKPLANE)
    assert list(hub.retired) == []
    assert hub.retention.charged_bytes == third.cost_bytes
    hub.retention.expire(1e9)
    assert [len(hub)] == [1]
