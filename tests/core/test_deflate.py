"""One compressed frame per publication, and what it costs."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.core.counters import Counters
from fanwise.core.deflate import AT_MOST_BYTES, SLICE_BYTES, TAIL, Deflater
from fanwise.core.dialect import JSON, PLAIN, SSE, Dialect
from fanwise.core.encoding import json_frame, json_message, plain_frame
from fanwise.core.group import CostlyGroup, make_group
from fanwise.core.log import Log
from fanwise.core.publication import Kind, Publication

from .test_log import make_log

TEXT = b'{"symbol":"AAA","price":100.25,"side":"buy"}' * 20


def deflater(tally: Counters | None = None, *, from_bytes: int | None = 1, level: int = 1) -> Deflater:
    return Deflater(tally or Counters(), from_bytes=from_bytes, level=level)


def publication(payload: bytes, kind: Kind = Kind.TEXT) -> Publication:
    return make_log().append(payload, kind=kind, time=0.0)


def opened(frame: bytes) -> tuple[int, bytes]:
    """The first byte of a server's frame, and its payload: inflated by itself where RSV1 says so."""
    short = frame[1]
    at = 2 if short < 126 else 4 if short == 126 else 10
    assert len(frame) - at == (short if at == 2 else int.from_bytes(frame[2:at]))
    if not frame[0] & 0x40:
        return frame[0], frame[at:]
    return frame[0], zlib.decompressobj(-15).decompress(frame[at:] + TAIL)


@pytest.mark.parametrize("level", [1, 2, 3])
@given(payloads=st.lists(st.binary(max_size=300).map(lambda part: part * 3), max_size=5))
def test_each_frame_is_right_by_itself(level: int, payloads: list[bytes]) -> None:
    """Whatever was compressed before: no frame refers to another one (RFC 7692 section 7.1.1.1)."""
    twin = deflater(level=level).dialect(PLAIN, agreed=True)
    for payload in payloads:
        head, message = opened(publication(payload, Kind.BINARY).encoded(twin.encode))
        assert (head & ~0x40, message) == (0x82, payload)


@pytest.mark.parametrize(
    ("dialect", "kind", "head"),
    [
        (PLAIN, Kind.TEXT, 0xC1),
        (PLAIN, Kind.JSON, 0xC1),
        (PLAIN, Kind.BINARY, 0xC2),
        (JSON, Kind.JSON, 0xC1),
        (JSON, Kind.BINARY, 0xC1),
    ],
)
def test_a_frame_says_what_it_is(dialect: Dialect, kind: Kind, head: int) -> None:
    """Compressed and final, text or binary as without compression."""
    one = publication(TEXT, kind)
    frame = one.encoded(deflater().dialect(dialect, agreed=True).encode)
    assert opened(frame) == (head, TEXT if dialect is PLAIN else json_message(one))
    assert len(frame) < len(TEXT) / 3


@pytest.mark.parametrize(
    "payload",
    [b"x" * 99, os.urandom(1000), b"x" * (AT_MOST_BYTES + 1)],
    ids=["below the bound", "that does not get smaller", "that takes too long"],
)
def test_a_publication_goes_out_as_it_is(payload: bytes) -> None:
    """In the object that other clients are sent, which is counted once."""
    one = publication(payload, Kind.BINARY)
    twin = deflater(from_bytes=100).dialect(PLAIN, agreed=True)
    assert one.encoded(twin.encode) is one.encoded(PLAIN.encode)
    assert one.extra_bytes == len(one.encoded(PLAIN.encode))


def test_a_message_that_is_longer_than_its_payload_is_bounded_too() -> None:
    """JSON takes six bytes for some of one."""
    tally = Counters()
    one = publication(b"\x01" * (AT_MOST_BYTES // 2))
    assert one.encoded(deflater(tally).dialect(JSON, agreed=True).encode) is one.encoded(json_frame)
    assert tally.compressions == 0


def test_what_is_kept_is_counted() -> None:
    """By the publication, and by the log that has it."""
    log = make_log()
    one = log.append(TEXT, kind=Kind.TEXT, time=0.0)
    sizes = [len(one.encoded(encode)) for encode in (deflater().dialect(PLAIN, agreed=True).encode, plain_frame)]
    assert one.extra_bytes == log.extra_bytes == sum(sizes)


def test_compressions_are_counted() -> None:
    """Once per publication and dialect, also those that save nothing."""
    tally = Counters()
    makes = [deflater(tally).dialect(dialect, agreed=True).encode for dialect in (PLAIN, JSON)]
    one, random = publication(TEXT), publication(os.urandom(500), Kind.BINARY)
    frames = [one.encoded(make) for make in makes * 2][:2]
    saved = sum(len(opened(frame)[1]) - len(frame) + (2 if len(frame) < 128 else 4) for frame in frames)
    assert (tally.compressions, tally.compressed_bytes) == (2, len(TEXT) + len(json_message(one)))
    assert tally.saved_bytes == saved
    random.encoded(makes[0])
    assert (tally.compressions, tally.saved_bytes) == (3, saved)


def test_dialects_without_a_twin_stay() -> None:
    """Event streams are not compressed, nor is anything by default or without agreement."""
    assert deflater().dialect(SSE, agreed=True) is SSE
    assert deflater().dialect(PLAIN, agreed=False) is PLAIN
    assert deflater(from_bytes=None).dialect(PLAIN, agreed=True) is PLAIN
    assert deflater().dialect(JSON, agreed=True).name == "fanwise.v1+deflate"


@pytest.mark.parametrize(("given_", "problem"), [({"level": 4}, "between 1 and 3"), ({"from_bytes": 0}, "less than 1")])
def test_bad_settings_are_named(given_: dict[str, int], problem: str) -> None:
    """As constructors do."""
    with pytest.raises(ValueError, match=problem):
        deflater(**given_)  # type: ignore[arg-type]


def filled_group() -> tuple[Log, CostlyGroup]:
    log = Log("lobby", epoch="e", max_messages=1000, max_bytes=1 << 30)
    group = make_group(log, deflater().dialect(PLAIN, agreed=True).encode, cohort_clients=2)
    for number in range(100):
        log.append(TEXT + b"%d" % number, kind=Kind.TEXT, time=0.0)
    assert isinstance(group, CostlyGroup)
    return log, group


def test_slices_are_short() -> None:
    """A sweep that compresses looks at the clock in between. Other groups join as much as they did."""
    log, group = filled_group()
    part = group.slice_after(0, until=100, max_bytes=1 << 20)
    assert log.end_at(part.after) <= SLICE_BYTES < log.end_at(part.after + 1)
    assert group.slice_after(part.after, until=100, max_bytes=1).after == part.after + 1
    plain = make_group(log, plain_frame, cohort_clients=2)
    assert plain.slice_after(0, until=100, max_bytes=1 << 20).after == 100


def test_a_short_write_is_cut_where_a_frame_ends() -> None:
    """The cursor and the rest fit together, though the slice has fewer bytes than the payloads in it."""
    log, group = filled_group()
    part = group.slice_after(0, until=100, max_bytes=1 << 20)
    encode = deflater().dialect(PLAIN, agreed=True).encode
    ends = [0]
    for one in log.read(0, max_bytes=1 << 30, until=part.after):
        ends.append(ends[-1] + len(one.encoded(encode)))
    for taken in range(0, len(part.data), 7):
        cursor, rest, _ = group.cut(part, taken)
        assert taken + len(rest) == ends[cursor]
        assert not ends[cursor - 1] >= taken > 0
