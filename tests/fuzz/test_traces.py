"""A trace from anywhere is read in the memory of one block, up to the first byte that is wrong, or to its end."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain, cycle
from typing import Any

import pytest

from fanwise.core.trace import BLOCK_BYTES, MOST_BLOCK_BYTES, Closed, Ended, TraceEncoder
from fanwise.core.trace_reader import read_trace
from fanwise.errors import TraceError

from ..support.traces import HEADER, STORY, block, encoded

MOST_BYTES = 1 << 20  # a block, a chunk and their copies


def in_blocks(*parts: slice) -> list[bytes]:
    """The line with the header, and then a block for each part of the story."""
    encoder = TraceEncoder(HEADER)
    pieces = [encoder.take()]
    for part in parts:
        for record in STORY[part]:
            encoder.add(record)
        pieces.append(encoder.take())
    return pieces


PIECES = in_blocks(slice(0, 6), slice(6, 12), slice(12, None))
TRACE = b"".join(PIECES)
WHOLE = [HEADER, *STORY]


def read(data: bytes) -> tuple[list[Any], TraceError | None]:
    """What comes before the end, or before the error."""
    found: list[Any] = []
    try:
        found.extend(read_trace([data]))
    except TraceError as error:
        return found, error
    return found, None


def test_a_trace_may_be_cut_anywhere() -> None:
    """Between two blocks it ends there; elsewhere the error names a place before the cut. What comes first is right."""
    borders = {sum(map(len, PIECES[:count])) for count in range(1, len(PIECES) + 1)}
    for cut in range(len(TRACE)):
        found, error = read(TRACE[:cut])
        assert found == WHOLE[: len(found)]
        if cut in borders:
            assert error is None
        else:
            assert error is not None
            assert error.offset <= cut
            assert error.problem.startswith(("the trace ends", "this is no trace", "the trace has version"))


def test_no_flipped_bit_passes() -> None:
    """Each is an error with a place, and what comes before it is right."""
    for place in range(len(TRACE)):
        for bit in range(8):
            data = bytearray(TRACE)
            data[place] ^= 1 << bit
            found, error = read(bytes(data))
            assert error is not None, (place, bit)
            assert found == WHOLE[: len(found)]


class Endless:
    """Chunks without an end. Counts those that were asked for."""

    def __init__(self, begin: bytes, chunk: bytes) -> None:
        self.asked = 0
        self._chunks = chain([begin], cycle([chunk]))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.asked += 1
        return next(self._chunks)


def peak_bytes(act: Callable[[], None]) -> int:
    """Memory that `act` takes at most."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        act()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("begin", "what"),
    [
        (b"", "this is no trace"),
        (b"fanwise trace 1", "the trace has version"),
        (b"fanwise trace 1\n" + b"\xff" * 8, "a block of 4,294,967,295 bytes; allowed are 1 to 65,536"),
        (b"fanwise trace 1\n" + (MOST_BLOCK_BYTES + 1).to_bytes(8, "little"), "a block of 65,537 bytes"),
        (b"fanwise trace 1\n" + MOST_BLOCK_BYTES.to_bytes(8, "little"), "the checksum of a block is"),
        (encoded() + bytes(8), "a block of 0 bytes"),
        (encoded() + block(11, 0, b"\xff" * 8 + b"\x7f"), "a text of 9,223,372,036,854,775,807 bytes"),
        (encoded() + block(2, 0, b"\xff" * 10), "more than 63 bits"),
        (b"fanwise trace 1\n" + block(b"[" * MOST_BLOCK_BYTES), "the header is no JSON object"),
        (b"fanwise trace 1\n" + block(b'{"began_at":' + b"9" * 60_000 + b"}"), "the header is no JSON object"),
    ],
)
def test_a_giant_length_is_refused_before_its_bytes_come(begin: bytes, what: str) -> None:
    """Of what follows without an end, one block is read at most."""
    source = Endless(begin, bytes(1024))

    def try_to_read() -> None:
        with pytest.raises(TraceError, match=what):
            list(read_trace(source))

    assert peak_bytes(try_to_read) < MOST_BYTES
    assert source.asked <= 2 + MOST_BLOCK_BYTES // 1024


def test_a_long_trace_takes_the_memory_of_a_block() -> None:
    """However many blocks there are, and however they come."""

    def chunks(count: int) -> Iterator[bytes]:
        encoder = TraceEncoder(HEADER)
        for record in STORY[:2]:
            encoder.add(record)
        for number in range(count):
            encoder.add(Closed(float(number), 1, "x" * 1024, 0, 0))
            if encoder.pending_bytes > BLOCK_BYTES:
                yield encoder.take()
        encoder.add(Ended(float(count), "asked"))
        yield encoder.take()

    def count_records() -> None:
        assert sum(1 for _ in read_trace(chunks(4_000))) == 1 + 2 + 4_000 + 1

    assert peak_bytes(count_records) < MOST_BYTES
