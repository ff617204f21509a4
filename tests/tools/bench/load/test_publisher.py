from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from fanwise.tools.bench.load.dialects import DIALECTS
from fanwise.tools.bench.load.pace import steady
from fanwise.tools.bench.load.publisher import Publisher

from ....support.bench import PAYLOADS


class Pair:
    """A publisher and what its peer reads; `done` is what the last client waits for."""

    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.peer.setblocking(False)
        self.ours = ours
        self.done = 1
        self.publisher = Publisher(
            ours, payloads=PAYLOADS, dialect=DIALECTS["plain"], channel="c", done=lambda: self.done
        )

    def read(self) -> list[tuple[int, int]]:
        """[(sequence, sent_ns)] of what has come."""
        data, found = self.peer.recv(1 << 20), []
        while len(data) >= 6 + PAYLOADS.size_bytes:
            mask, payload = data[2:6], data[6 : 6 + data[1] - 128]
            text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
            read = PAYLOADS.read(text, 0, len(text))
            assert read is not None
            found.append(read)
            data = data[6 + len(payload) :]
        return found


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.ours.close()
    made.peer.close()


def test_at_a_rate(pair: Pair) -> None:
    """Each message carries the time at which it was due, not the one at which it got out; and none is left out."""
    pair.publisher.at_times(steady(100, 1000), stop_ns=1000 + 50_000_000)
    pair.publisher.pump(999)
    assert pair.publisher.due_seconds(999) == pytest.approx(1e-9)
    pair.publisher.pump(1000 + 25_000_000)
    assert pair.read() == [(1, 1000), (2, 10_001_000), (3, 20_001_000)]
    assert pair.publisher.late.max_ns == 25_000_000
    assert not pair.publisher.finished
    pair.publisher.pump(10**9)
    assert [sequence for sequence, _ in pair.read()] == [4, 5]
    assert pair.publisher.finished


def test_saturated(pair: Pair) -> None:
    """So many are on their way, and one more for each that has arrived everywhere."""
    pair.publisher.saturate(4, start_ns=0, stop_ns=1000)
    pair.publisher.pump(10)
    assert pair.read() == [(1, 10), (2, 10), (3, 10), (4, 10)]
    pair.publisher.pump(11)
    pair.done = 3
    pair.publisher.pump(12)
    assert pair.read() == [(5, 12), (6, 12)]
    pair.publisher.pump(1000)
    assert pair.publisher.finished


def test_with_nobody_there_nothing_is_sent(pair: Pair) -> None:
    """A window without clients never fills."""
    pair.done = 0
    pair.publisher.saturate(4, start_ns=0, stop_ns=1000)
    pair.publisher.pump(10)
    assert pair.publisher.sequence == 0


def test_a_server_that_does_not_read(pair: Pair) -> None:
    """Is not flooded: what was built and not taken is bounded, goes out later, and is not counted as our delay."""
    pair.publisher.at_times(steady(1e6, 0), stop_ns=10**12)
    for second in range(1, 4):
        pair.publisher.pump(second * 10**9)
    built, late = pair.publisher.sequence, pair.publisher.late.total
    assert pair.publisher.blocked
    assert built * PAYLOADS.size_bytes < 4 << 20
    pair.publisher.pump(4 * 10**9)
    assert (pair.publisher.sequence, pair.publisher.late.total) == (built, late)
    assert pair.read()[0][0] == 1
    for second in (4, 5):  # the first one sends what was built, the second one builds
        pair.publisher.pump(second * 10**9)
    assert pair.publisher.sequence > built


def test_a_lost_connection(pair: Pair) -> None:
    """Ends the publishing, and nothing else."""
    pair.peer.close()
    pair.publisher.saturate(4, start_ns=0, stop_ns=1000)
    pair.publisher.pump(1)
    pair.publisher.flush()
    assert pair.publisher.lost
    assert pair.publisher.finished
