"""Stretches: each is counted once, when it is over, with its pauses and the furthest that the client was behind."""

from __future__ import annotations

import pytest

from fanwise.broadcaster.audit import AUDIT_SECONDS
from fanwise.core.counters import Counters, Histogram

from ..core.test_hub import publish
from .test_audit import Audits
from .test_registry import make_registry

pytestmark = pytest.mark.anyio


class Watched:
    """A client on two channels under audits whose clock goes as it is told."""

    def __init__(self) -> None:
        registry, self.setting, self.left = make_registry()
        self.registry = registry
        self.audits = Audits(registry, self.setting)

    @property
    def tally(self) -> Counters:
        return self.setting.hub.tally

    def publish(self, count: int, name: str = "a") -> None:
        for _ in range(count):
            publish(self.setting.hub, self.setting.channels[name])

    def take(self) -> None:
        """The client takes all that there is."""
        self.setting.sink.resume()
        for channel in self.setting.channels.values():
            self.setting.sweeper.flush(channel)
        while self.setting.client._take_turn():
            pass


def values(histogram: Histogram) -> tuple[int, float]:
    """How many, and their sum."""
    return histogram.count, histogram.sum


async def test_a_stretch_is_counted_when_it_is_over() -> None:
    """With how far behind the client was at most, in all three units, and how long that took."""
    watched = Watched()
    watched.setting.sink.pause()
    watched.publish(3)
    watched.publish(1, "b")
    await watched.audits.run(3)
    assert watched.tally.catch_up.count == watched.tally.stretch_messages.count == 0
    watched.take()
    await watched.audits.run()
    assert values(watched.tally.catch_up) == (1, 3 * AUDIT_SECONDS)
    assert values(watched.tally.stretch_messages) == (1, 4)
    size = sum(channel.log.end for channel in watched.setting.channels.values())
    assert values(watched.tally.stretch_bytes) == (1, size)
    assert values(watched.tally.stretch_seconds) == (1, 2 * AUDIT_SECONDS)  # the publications are of second 0
    await watched.audits.run(3)
    assert watched.tally.catch_up.count == 1


async def test_a_pause_is_the_time_in_which_a_connection_took_nothing() -> None:
    """Each is counted; who takes something between all audits has none, however far behind it is."""
    watched = Watched()
    watched.setting.sink.pause(buffered_bytes=1000)
    watched.publish(3)
    await watched.audits.run(5)
    watched.setting.sink.buffered_bytes = 900
    await watched.audits.run()
    assert values(watched.tally.pause) == (1, 5 * AUDIT_SECONDS)
    for left in range(800, 0, -100):
        watched.setting.sink.buffered_bytes = left
        await watched.audits.run()
    assert watched.tally.pause.count == 1
    await watched.audits.run(3)
    watched.take()
    await watched.audits.run()
    assert values(watched.tally.pause) == (2, (5 + 4) * AUDIT_SECONDS)


async def test_who_falls_behind_again_has_another_stretch() -> None:
    """Also between the same two audits: the first one is over."""
    watched = Watched()
    watched.setting.sink.pause()
    watched.publish(5)
    await watched.audits.run(2)
    watched.take()
    watched.setting.sink.pause()
    watched.publish(1)
    await watched.audits.run(2)
    watched.take()
    await watched.audits.run()
    assert values(watched.tally.stretch_messages) == (2, 6)
    assert watched.tally.catch_up.count == 2


async def test_a_client_that_leaves_by_itself_has_been_behind_too() -> None:
    """It has not caught up."""
    watched = Watched()
    watched.setting.sink.pause()
    watched.publish(2)
    await watched.audits.run(2)
    watched.setting.client.close()
    await watched.audits.run()
    assert watched.tally.catch_up.count == 0
    assert values(watched.tally.stretch_messages) == (1, 2)


async def test_a_dropped_client_is_counted_where_it_is_remembered() -> None:
    """And not twice: how far it falls is not known yet. Its last pause is."""
    watched = Watched()
    watched.setting.sink.pause(buffered_bytes=10)
    watched.publish(21)
    await watched.audits.run(2)
    assert watched.left == [watched.setting.client]
    await watched.audits.run()
    assert watched.tally.stretch_messages.count == 0
    assert len(watched.registry.dropped) == 1
    assert watched.setting.client in watched.registry.dropped
