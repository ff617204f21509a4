"""The encoder of traces: how many bytes a record takes."""

from __future__ import annotations

from itertools import pairwise

from fanwise.core.trace import (
    BLOCK_BYTES,
    MOST_BLOCK_BYTES,
    Audited,
    Ended,
    Published,
    Sample,
    TraceEncoder,
    key_number,
)
from fanwise.core.trace_reader import read_trace

from ..support.traces import HEADER, STORY, encoded


def size_of(count: int, *, key: int = 0) -> float:
    """Bytes of a publication among many of one channel, one in a millisecond."""
    encoder = TraceEncoder(HEADER)
    encoder.take()
    for number in range(count):
        encoder.published(number / 1000, 1, 1_000, key)
    return len(encoder.take()) / count


def test_records_take_few_bytes() -> None:
    """Those of the documentation: 3 for a publication like the one before it, 8 with a key, some 15 for a sample."""
    assert 3 <= size_of(10_000) < 3.01
    assert 8 <= size_of(10_000, key=key_number("a")) < 8.01
    sample = Sample(0.5, 1_000, 1, True, 1_000, 1_000_000, 60_000, 60_000)
    assert len(encoded(*STORY[:-1], Audited(2.0), sample)) - len(encoded(*STORY[:-1], Audited(2.0))) <= 16


def test_a_block_is_bounded() -> None:
    """Whatever is added: `take` gives blocks that the reader takes."""
    encoder = TraceEncoder(HEADER)
    for record in STORY[:3]:
        encoder.add(record)
    for number in range(50_000):
        encoder.published(1.0, 1, number)
    data = encoder.take()
    assert len(data) > 2 * MOST_BLOCK_BYTES > 4 * BLOCK_BYTES
    assert sum(isinstance(record, Published) for record in read_trace([data])) == 50_000
    assert encoder.pending_bytes == 0


def test_a_text_is_cut_between_two_characters() -> None:
    """Whatever it is: the reader takes it."""
    records = list(read_trace([encoded(Ended(1.0, text)) for text in ["x" + "é" * 600]]))
    assert records[1:] == [Ended(1.0, "x" + "é" * 511)]
    assert list(read_trace([encoded(Ended(1.0, "\ud800"))]))[1:] == [Ended(1.0, "?")]


def test_each_full_block_is_said() -> None:
    """Whatever fills it: that is where a recording looks at its bounds."""
    full: list[int] = []
    encoder = TraceEncoder(HEADER, on_block=lambda: full.append(encoder.pending_bytes))
    for number in range(1, 3 * BLOCK_BYTES // 2):
        encoder.add(Audited(float(number)))
    assert len(full) > 2
    assert all(before + BLOCK_BYTES <= after <= before + 2 * BLOCK_BYTES for before, after in pairwise(full))


def test_time_does_not_go_back() -> None:
    """A record that comes late gets the time of the one before it."""
    records = list(read_trace([encoded(Audited(2.0), Audited(1.0), Audited(3.0))]))[1:]
    assert records == [Audited(2.0), Audited(2.0), Audited(3.0)]


def test_keys_are_numbers() -> None:
    """No key is 0; and a trace does not give a key away."""
    assert key_number(None) == 0
    assert key_number("") == 1
    assert key_number("a") == key_number("a") != key_number("b")
    assert b"secret" not in encoded(*STORY[:3], Published(1.0, 1, 1, key_number("secret")))
