"""Reading traces, whole ones and bad ones."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.core.trace import FRAME_BYTES, Ended, Header
from fanwise.core.trace_reader import read_trace
from fanwise.errors import TraceError

from ..support.traces import HEADER, STORY, block, encoded

TRACE = encoded(*STORY)
BEGIN = encoded()  # line and header


def problem(*chunks: bytes) -> tuple[int, str]:
    """What is wrong with a trace, and where."""
    with pytest.raises(TraceError) as caught:
        list(read_trace(chunks))
    return caught.value.offset, caught.value.problem


def test_a_trace_is_read_as_it_was_written() -> None:
    """Whatever the size of the chunks in which it comes."""
    for size in (1, 7, len(TRACE)):
        assert list(read_trace(TRACE[start : start + size] for start in range(0, len(TRACE), size))) == [HEADER, *STORY]


@pytest.mark.parametrize(
    ("data", "offset", "what"),
    [
        (b"", 0, "this is no trace: it begins with b''"),
        (b"GIF89a" + bytes(100), 0, "this is no trace: it begins with b'GIF89a"),
        (b"fanwise trace 2\n" + bytes(100), 0, "the trace has version '2'; this command knows 1"),
        (b"fanwise trace 1\n", 16, "ends before its header"),
        (b"fanwise trace 1\n\1\0", 16, "ends after 2 of the 8 bytes of a frame"),
        (b"fanwise trace 1\n" + block(b"[1]"), 16, "the header is no JSON object with server, began_at, settings"),
        (b"fanwise trace 1\n" + block(b'{"server":1,"began_at":2,"settings":{}}'), 16, "of another type"),
        (b"fanwise trace 1\n" + block(b'{"server":"","began_at":2,"settings":{"a":[]}}'), 16, "of another type"),
        (b"fanwise trace 1\n" + block(b'{"server":"","began_at":2,"settings":[]}'), 16, "of another type"),
        (b"fanwise trace 1\n" + block(b'{"server":"","began_at":2,"settings":{"a":NaN}}'), 16, "of another type"),
        (b"fanwise trace 1\n" + block(b'{"server":"","began_at":NaN,"settings":{}}'), 16, "no time from 1970 to 9999"),
        (b"fanwise trace 1\n" + block(b'{"server":"","began_at":1e999,"settings":{}}'), 16, "no time from"),
    ],
)
def test_what_is_no_trace_is_said(data: bytes, offset: int, what: str) -> None:
    """With the place, and what is wrong there."""
    found = problem(data)
    assert found[0] == offset
    assert what in found[1]


SEEN = bytes([2, 0, 1, 5]) + b"lobby" + bytes([0, 1])  # ChannelSeen
CAME = bytes([3, 0, 1, 0, 1]) + b"d" + bytes([1]) + b"j"  # Connected


@pytest.mark.parametrize(
    ("content", "place", "what"),
    [
        ([0], 1, "ends in its middle"),
        ([0, 0], 2, "unknown is a record with the tag 0"),
        ([12, 0], 2, "unknown is a record with the tag 12"),
        ([9 + 16, 0], 2, "unknown is a record with the tag 25"),
        ([SEEN, 1, 0, 2, 1], 15, "channel 2 was not introduced; known are 1 to 1"),
        ([SEEN, 1 + 128, 0, 1, 1], 15, "unknown flag"),
        ([SEEN, 1 + 16, 0, 1], 14, "channel 0 was not introduced"),
        ([SEEN, 1 + 32, 0, 1], 14, "has no size"),
        ([SEEN, SEEN], 22, "channel 1 is introduced where 2 should be"),
        ([CAME, CAME], 16, "client 1 is introduced where 2 should be"),
        ([7, 0, 1], 3, "client 1 was not introduced; known are 1 to 0"),
        ([9, b"\xff" * 9, 1], 10, "more than 63 bits"),
        ([11, 0, 9, b"abc"], 3, "ends in its middle"),
        ([11, 0, 2, b"\xff\xff"], 3, "not UTF-8"),
        ([11, 0, b"\xff\x7f", b"a"], 4, "a text of 16,383 bytes; at most 1,024 are allowed"),
        ([11, 0, 0, 9, 0], 3, "comes after the end"),
        ([SEEN, 1, 0, 1, b"\xff" * 8, 1], 23, "a payload of 144,115,188,075,855,871 bytes; at most 1,073,741,824 are"),
    ],
)
def test_what_is_wrong_in_a_block_is_said(content: list[bytes | int], place: int, what: str) -> None:
    """With the byte in the whole trace."""
    found = problem(BEGIN, block(*content))
    assert what in found[1]
    assert found[0] == len(BEGIN) + FRAME_BYTES + place


def test_time_goes_on_from_block_to_block() -> None:
    """A block whose first record is before the last one of another is an error."""
    offset, what = problem(BEGIN, block(9, 100), block(9, 99))
    assert "time goes back from 100 to 99 microseconds" in what
    assert offset > len(BEGIN) + FRAME_BYTES + 2


def test_a_trace_that_was_cut_is_right_until_there() -> None:
    """Cut between two blocks, its last record is no Ended; cut elsewhere, there is an error behind the last one."""
    parts = [encoded(), TRACE[len(encoded()) :]]
    assert list(read_trace([parts[0]])) == [HEADER]
    for cut in range(len(parts[0]) + 1, len(TRACE)):
        found: list[object] = []
        with pytest.raises(TraceError, match="the trace ends after"):
            found.extend(read_trace([TRACE[:cut]]))
        assert found in ([], [HEADER])


@given(st.integers(0, len(TRACE) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(place: int, change: int) -> None:
    """Each is an error with a place in the trace."""
    data = bytearray(TRACE)
    data[place] ^= change
    offset, what = problem(bytes(data))
    assert 0 <= offset <= len(TRACE)
    assert what


def numbers(content: bytes) -> Iterable[bytes]:
    yield BEGIN
    yield block(content)


@given(st.binary(min_size=1, max_size=200))
def test_any_content_is_records_or_an_error(content: bytes) -> None:
    """Also with a right checksum: no other exception, and never more records than bytes."""
    found: list[object] = []
    try:
        found.extend(read_trace(numbers(SEEN + CAME + content)))
    except TraceError as error:
        assert len(BEGIN) <= error.offset <= len(BEGIN) + FRAME_BYTES + len(SEEN + CAME + content)  # noqa: PT017
    assert len(found) <= 3 + len(content)


def test_the_reader_keeps_one_block() -> None:
    """Records come while the rest of a trace has not: a live trace is read as it is made."""
    chunks = iter([BEGIN, block(SEEN, CAME), block(11, 0, 5, b"asked")])
    records = read_trace(chunks)
    assert isinstance(next(records), Header)
    assert len(list(chunks)) == 2
    assert [record for record in records if isinstance(record, Ended)] == []
