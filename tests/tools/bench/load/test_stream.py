from __future__ import annotations

import random

import pytest

from fanwise.tools.bench.load import stream as module
from fanwise.tools.bench.load.stream import RESTART_MESSAGES, Progress, Stream

from ....support.bench import PAYLOADS, frame, receiver


def filled(count: int, *, sent_ns: int = 5) -> Stream:
    stream = Stream(PAYLOADS)
    for sequence in range(1, count + 1):
        stream.offer(sequence, sent_ns, frame(sequence, sent_ns))
    return stream


def test_positions_and_sequences() -> None:
    """A message counts from the byte on with which it is complete."""
    stream = filled(3)
    size = len(frame(1))
    assert [stream.sequence_at(position) for position in (0, size - 1, size, 3 * size)] == [1, 1, 2, 4]
    assert [stream.start_of(sequence) for sequence in (0, 1, 2, 4, 5)] == [None, 0, size, 3 * size, None]


def test_bursts_are_those_sent_together() -> None:
    """Messages with the same time become one entry, cut at the ends of the range."""
    stream = Stream(PAYLOADS)
    for sequence, sent_ns in enumerate([5, 5, 5, 8, 9, 9], start=1):
        stream.offer(sequence, sent_ns, frame(sequence, sent_ns))
    assert stream.bursts(2, 7) == [(9, 2), (8, 1), (5, 2)]
    assert stream.bursts(1, 3) == [(5, 2)]


def test_offsets_of_the_server() -> None:
    """Each message has one, also where others publish to the channel in between; the rest follow from it."""
    offsets = iter([11, 12, 15, None, 17])
    stream = Stream(PAYLOADS, offset_in=lambda _frame: next(offsets))
    assert stream.offset_of(1) is None
    for sequence in range(1, 6):
        stream.offer(sequence, 5, frame(sequence))
    assert [stream.offset_of(sequence) for sequence in (0, 1, 2, 3, 4, 5, 9)] == [None, 11, 12, 15, 16, 17, 21]


def test_only_the_next_message_is_taken() -> None:
    """One from the past or behind a hole is not part of the stream."""
    stream = filled(2)
    for sequence in (1, 2, 4):
        stream.offer(sequence, 5, frame(sequence))
    assert stream.next_sequence == 3


def test_a_hole_that_nobody_fills_starts_anew() -> None:
    """And a client that was in the middle of a frame takes along what it has of it."""
    stream = filled(2)
    client = receiver(stream)
    client.feed(frame(1) + frame(2) + frame(3)[:10], 9)
    client.feed(frame(3)[10:20], 9)
    assert client.position == -1
    far = 3 + RESTART_MESSAGES + 1
    stream.offer(far, 5, frame(far))
    assert (stream.next_sequence, stream.start_of(far)) == (far + 1, 2 * len(frame(1)))
    client.feed(frame(3)[20:] + frame(4), 9)
    assert (client.expected, client.lane.tally.lost, client.lane.tally.deliveries) == (5, 0, 4)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trimming keeps what has to be kept, and whoever was further behind goes on without the stream."""
    monkeypatch.setattr(module, "KEPT_BYTES", 1000)
    stream = Stream(PAYLOADS)
    behind, ahead = receiver(stream), receiver(stream)
    behind.feed(frame(1) + frame(2), 9)
    behind.position = len(frame(1)) + 7  # in the middle of the second one
    for sequence in range(3, 200):
        ahead.feed(frame(sequence), 9)
        stream.trim()
        assert len(stream.data) <= 2000 + len(frame(1))
    assert ahead.position == stream.end
    assert behind.position == -1
    behind.feed(frame(2)[7:] + frame(3), 9)
    assert (behind.expected, behind.lane.tally.lost) == (4, 0)


def test_progress_is_the_least() -> None:
    """Whatever the order in which clients move, come and go."""
    progress, model, rng = Progress(), [1] * 20, random.Random(1)
    for _ in model:
        progress.join(1)
    for _ in range(2000):
        place = rng.randrange(len(model))
        old, model[place] = model[place], model[place] + rng.randrange(4)
        progress.move(old, model[place])
        assert progress.lowest == min(model)
    while model:
        progress.leave(model.pop())
        assert progress.lowest == min(model, default=None)
