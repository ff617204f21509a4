"""Dropped clients: how far they would have fallen, and what becomes of them."""

from __future__ import annotations

import asyncio

import pytest

from fanwise.broadcaster.client import Client
from fanwise.broadcaster.dropped import AWAY_SECONDS, REMEMBERED, DroppedClients
from fanwise.broadcaster.outbox import Outbox
from fanwise.core.counters import Counters
from fanwise.core.dialect import PLAIN
from fanwise.core.hub import Hub
from fanwise.core.publication import Position

from ..core.test_hub import make_hub, publish
from ..support.fakes import FakeSink
from .test_client import make_host

pytestmark = pytest.mark.anyio


class Place:
    """A hub whose clients are dropped and come back, at times as they are told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hub: Hub = make_hub(queue_messages=5, history_messages=50)
        self.channel = self.hub.channel("a", time=0.0)
        self.hub.subscribe("a", time=0.0)
        self.dropped = DroppedClients(self.hub.tally, clock=lambda: self.now)
        self._last = 0

    @property
    def tally(self) -> Counters:
        return self.hub.tally

    def publish(self, count: int) -> None:
        for _ in range(count):
            publish(self.hub, self.channel, b"x" * 10, time=self.now)

    def enter(self, host: str = "h", *, since: int | None = None) -> tuple[Client, str]:
        """A client, and the id of the one that it is taken for."""
        self._last += 1
        client = Client(
            str(self._last),
            address=f"{host}:{self._last}",
            outbox=Outbox(FakeSink(), PLAIN),
            listen=None,
            close_seconds=1.0,
            owner=make_host(asyncio.get_running_loop(), self.hub),
        )
        position = None if since is None else Position(self.channel.log.epoch, since)
        start = self.hub.subscribe("a", since=position, time=0.0)
        before = "" if position is None else self.dropped.resumed(client, start, position)
        client.begin(start)
        return client, before

    def drop(self, client: Client) -> None:
        self.dropped.add(client, (1, 1, 0.5))


async def test_a_dropped_client_falls_until_it_comes_back() -> None:
    """As far as the log has grown meanwhile, not only to the width of its queue."""
    place = Place()
    client, _ = place.enter()
    place.publish(6)
    place.now = 1.0
    place.drop(client)
    place.publish(20)
    place.now = 4.0
    again, before = place.enter(since=0)
    assert before == client.id
    assert place.tally.dropped_clients["returned"] == 1
    assert (place.tally.stretch_messages.sum, place.tally.stretch_bytes.sum) == (26, 260)
    assert place.tally.stretch_seconds.sum == 4.0
    place.dropped.end_audit()
    assert place.tally.dropped_clients["recovered"] == 0
    while again._next(1 << 20) is not None:  # it takes all of it
        pass
    place.dropped.end_audit()
    place.dropped.end_audit()
    assert place.tally.dropped_clients == {"returned": 1, "returned_late": 0, "recovered": 1, "away": 0}


async def test_who_comes_back_too_late_is_told_from_others() -> None:
    """The log has let go of a part of what it missed; how far it fell is known all the same."""
    place = Place()
    client, _ = place.enter()
    place.publish(6)
    place.drop(client)
    place.publish(80)
    place.hub.retention.trim(0.0)
    place.hub.retention.trim(0.0)
    _, before = place.enter(since=0)
    assert before == client.id
    assert place.tally.dropped_clients["returned_late"] == 1
    assert (place.tally.stretch_messages.sum, place.tally.stretch_bytes.sum) == (86, 860)


async def test_who_stays_away_is_not_waited_for() -> None:
    """After a minute, or when too many others were dropped: then counts what was known when it was dropped."""
    place = Place()
    client, _ = place.enter()
    place.publish(3)
    place.drop(client)
    place.publish(30)
    place.now = AWAY_SECONDS - 0.1
    place.dropped.end_audit()
    assert (len(place.dropped), place.tally.stretch_messages.count) == (1, 0)
    place.now = AWAY_SECONDS
    place.dropped.end_audit()
    assert (len(place.dropped), place.tally.stretch_messages.sum) == (0, 1)
    for _ in range(REMEMBERED + 3):
        place.drop(place.enter()[0])
    assert len(place.dropped) == REMEMBERED
    assert place.tally.dropped_clients["away"] == 4


async def test_who_comes_back_is_known_by_host_log_and_place() -> None:
    """The nearest one fits; nobody who was dropped before that place, elsewhere, or on another log does."""
    place = Place()
    early, _ = place.enter()
    place.publish(5)
    late, _ = place.enter()
    place.publish(5)
    for client in (late, early):
        place.drop(client)
    assert place.enter("other", since=0)[1] == ""
    assert place.enter(since=6)[1] == ""
    assert place.enter()[1] == ""
    assert place.enter(since=3)[1] == late.id
    assert place.enter(since=3)[1] == ""
    assert place.enter(since=0)[1] == early.id
    assert len(place.dropped) == 0


async def test_a_client_without_a_channel_is_not_waited_for() -> None:
    """It has nothing to come back to."""
    place = Place()
    client, _ = place.enter()
    client.unsubscribe("a")
    place.drop(client)
    assert len(place.dropped) == 0
