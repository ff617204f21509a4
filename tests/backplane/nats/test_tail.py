"""With deliveries as the server makes them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fanwise.backplane.counts import Counts
from fanwise.backplane.nats.link import Delivery, Link
from fanwise.backplane.nats.messages import Head, Message, write
from fanwise.backplane.nats.tail import Tail
from fanwise.backplane.port import Arrival, Outgoing
from fanwise.core.publication import Kind

pytestmark = pytest.mark.anyio


class Place:
    """A tail, and what it has told."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.interruptions = 0
        self.messages: list[Message] = []
        self.wants = True
        self.tail = Tail(
            arrived=self.arrived, interrupted=self.interrupted, heard=self.messages.append, counts=Counts()
        )
        self.link = Link("_IN", lambda _: None)
        self.tail.turned(10, first=True)
        self.tail.begin(self.link)

    def arrived(self, arrivals: Sequence[Arrival]) -> bool:
        self.payloads += [one.payload for one in arrivals]
        return self.wants

    def interrupted(self) -> None:
        self.interruptions += 1

    def deliver(self, sequence: int, payload: bytes, *, reply: str = "$JS.ACK.s.c.1.{}.1.5000000.0") -> None:
        data = write(Head("e", sequence, sequence - 1, 0), "w:1", [Outgoing("a", payload, Kind.TEXT)])
        self.tail.delivered(self.link, Delivery(b"f.c.l.a", reply.format(sequence).encode(), 0, b"", data))


async def test_messages_are_applied_once_and_in_order() -> None:
    """With the time of the engine; and channels stand where the newest of them says."""
    place = Place()
    for sequence in (9, 10, 11, 11, 12):
        place.deliver(sequence, b"%d" % sequence)
    place.deliver(13, b"13", reply="$JS.ACK.domain.account.s.c.1.{}.1.6000000.0.x")
    assert place.payloads == [b"11", b"12", b"13"]
    assert [one.arrivals[0].at_ms for one in place.messages] == [5, 5, 6]
    assert (place.interruptions, place.tail.number, place.tail.place) == (0, 13, (13, 6_000_000))
    assert place.tail.heads["a"] == Head("e", 14, 13, 2)


async def test_a_hole_is_told_before_what_follows_it() -> None:
    """Once; and so is another life, but for the first."""
    place = Place()
    place.deliver(14, b"14")
    assert (place.interruptions, place.payloads, place.tail.number) == (1, [b"14"], 14)
    place.tail.turned(3, first=False)
    assert (place.interruptions, place.tail.number, place.tail.place, place.tail.heads) == (2, 3, (0, 0), {})
    assert place.tail.holes == 2


async def test_a_link_that_is_lost_delivers_nothing() -> None:
    """What it had on its way comes again on the next one."""
    place = Place()
    place.tail.lost()
    place.deliver(11, b"11")
    place.tail.begin(Link("_IN", lambda _: None))
    place.deliver(11, b"11")
    assert place.payloads == []


async def test_what_is_known_of_channels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of which nothing was heard for the longest time are forgotten; older news change nothing."""
    monkeypatch.setattr("fanwise.backplane.nats.tail._HEADS", 2)
    tail = Place().tail
    for channel, sequence in (("a", 5), ("b", 6), ("a", 4), ("c", 7)):
        tail.remember(channel, Head("e", sequence, sequence, 0))
    assert {channel: head.sequence for channel, head in tail.heads.items()} == {"a": 5, "c": 7}


async def test_the_server_is_told_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it asks, and when a heartbeat says that it waits."""
    place, answers = Place(), []
    monkeypatch.setattr(place.link, "publish", lambda subject, _: answers.append(subject))
    for delivery in (
        Delivery(b"_IN.d", b"$JS.FC.1", 100, b"", b""),
        Delivery(b"_IN.d", b"", 100, b"Nats-Last-Stream: 1\r\nNats-Consumer-Stalled: $JS.FC.2\r\n\r\n", b""),
        Delivery(b"_IN.d", b"", 100, b"Nats-Last-Stream: 1\r\n\r\n", b""),
        Delivery(b"_IN.d", b"", 409, b"", b""),
    ):
        place.tail.delivered(place.link, delivery)
    assert answers == ["$JS.FC.1", "$JS.FC.2"]
