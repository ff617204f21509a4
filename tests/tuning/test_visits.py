"""`tuning.visits`: the records of a trace, put in order."""

from __future__ import annotations

import pytest

from fanwise.broadcaster.node import Node
from fanwise.core import trace
from fanwise.core.dialect import JSON, PLAIN, Dialect
from fanwise.core.trace_reader import read_trace
from fanwise.tuning.visits import Book, Curve, Mark, wire_sizes

from ..support.fakes import FakeSink


def test_what_a_kernel_has_accepted_is_what_was_published_but_for_the_lag() -> None:
    """Three publications of 1,004 bytes on the wire: two are in the queue, and 4 bytes wait in the transport."""
    book = Book(wire_sizes(PLAIN))
    book.read(
        [
            trace.ChannelSeen(0.0, 1, "c", 0, 1),
            trace.Connected(0.0, 1, True, 0, "direct", "plain"),
            trace.Subscribed(0.0, 1, 1, False, 0, 0),
            *(trace.Published(0.1 * number, 1, 1000, 0) for number in (1, 2, 3)),
            trace.FellBehind(0.3, 1),
            trace.Audited(0.4),
            trace.Sample(0.4, 1, 1, True, 2, 2000, 4, -1),
            trace.CaughtUp(0.5, 1),
            trace.Closed(0.6, 1, "slow", 0, 0),
            trace.Ended(0.7, "asked"),
        ]
    )
    visit = book.visits[1]
    (stretch,) = visit.stretches
    assert stretch == (0.3, [Mark(0.4, 1000.0, True)], 0.5)
    assert (visit.begins, visit.ends, visit.dropped, book.audits, book.whole) == (0.0, 0.6, True, 1, True)


def test_a_client_on_two_channels_has_one_backlog() -> None:
    book = Book(wire_sizes(PLAIN))
    book.read(
        [
            trace.ChannelSeen(0.0, 1, "a", 0, 1),
            trace.ChannelSeen(0.0, 2, "b", 0, 1),
            trace.Connected(0.0, 1, False, 0, "direct", "plain"),
            trace.Subscribed(0.0, 1, 1, False, 0, 0),
            trace.Subscribed(0.0, 1, 2, False, 0, 0),
            trace.Published(0.1, 1, 100, 0),
            trace.Published(0.1, 2, 200, 0),
            trace.FellBehind(0.1, 1),
            trace.Sample(0.2, 1, 1, True, 1, 100, 10, -1),
            trace.Sample(0.2, 1, 2, True, 1, 200, 10, -1),
        ]
    )
    assert book.visits[1].stretches[0].marks == [Mark(0.2, -10.0, True)]
    assert book.curve([1, 2]).at(0.1) == 102 + 204


def test_a_curve_can_be_asked_both_ways() -> None:
    curve = Curve([(1.0, 10.0), (2.0, 20.0)])
    assert [curve.at(0.5), curve.at(1.0), curve.at(3.0)] == [0.0, 10.0, 30.0]
    assert [curve.before(1.0), curve.before(2.0)] == [0.0, 10.0]
    assert [curve.when(0.0), curve.when(10.0), curve.when(15.0), curve.when(99.0)] == [1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("dialect", [PLAIN, JSON])
def test_sizes_on_the_wire_are_those_of_the_encoding(dialect: Dialect) -> None:
    """A frame of 1,000 bytes has a header of 4; JSON adds its fields."""
    length = wire_sizes(dialect)
    assert length("c", 1000, False) >= 1004
    assert length("c", 1000, True) >= length("c", 1000, False)


@pytest.mark.anyio
async def test_each_client_is_counted_once() -> None:
    """Three were here, and one of them falls behind; one comes, one comes onto a new channel, one leaves."""
    async with Node(ready_lag_seconds=float("inf")) as node:
        sinks = [FakeSink() for _ in range(3)]
        clients = [node.add_client(sink, channel="a") for sink in sinks]
        recorder = node.recordings.start(most_bytes=1 << 20)
        sinks[0].pause(buffered_bytes=7)
        for _ in range(2):
            node.publish_nowait("a", b"x" * 100)
            await node._audit.once()
        late = [node.add_client(FakeSink(), channel=name) for name in ("a", "b")]
        node.unsubscribe(late[0], "a")
        node.subscribe(clients[1], "b")
        recorder.end("asked")
        header, *records = read_trace([await recorder.read()])
    assert isinstance(header, trace.Header)
    book = Book(wire_sizes(PLAIN))
    book.read(records)
    assert book.visits[1].here
    assert book.clients == 3 + 2
