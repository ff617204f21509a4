from __future__ import annotations

import pytest

from fanwise.routes.demo.stream import Stamp, Stream


def test_a_message_says_its_number_and_when_it_was_sent() -> None:
    """Wherever it stands in what was received."""
    stream = Stream(began=100.0)
    stream.due = 41
    text = stream.text(stream.stamp(103.25), 64)
    assert len(text) == 64
    data = b"\x81\x40" + text.encode() + b"\x81\x40"
    assert stream.read(data, 2, 66) == Stamp(42, 103.25)


def test_the_smallest_message_has_room_for_an_hour_at_the_highest_rate() -> None:
    """16 bytes hold number 720,000, sent after an hour."""
    stream = Stream(began=5.0)
    stream.due = 719_999
    text = stream.text(stream.stamp(3605.0), 16)
    assert len(text) == 16
    assert stream.read(text.encode(), 0, 16) == Stamp(720_000, 3605.0)


def test_a_message_grows_rather_than_lose_a_digit() -> None:
    """After days it is longer than was asked for, and right."""
    stream = Stream(began=0.0)
    stream.due = 10**9
    text = stream.text(stream.stamp(10**7), 16)
    assert len(text) > 16
    assert stream.read(text.encode(), 0, len(text)) == Stamp(10**9 + 1, 10**7)


@pytest.mark.parametrize("data", [b"", b"Message: hello", b"7", b"7 ", b"7 x", b"0 5 .", b"-1 5 .", b"9 5 .", b"\xff"])
def test_what_others_publish_is_not_ours(data: bytes) -> None:
    """Other texts, and numbers that are not due yet."""
    stream = Stream(began=0.0)
    stream.due = 8
    assert stream.read(b"8 5 .", 0, 5) == Stamp(8, 5e-6)
    assert stream.read(data, 0, len(data)) is None


def test_reading_ends_where_the_message_does() -> None:
    """What comes behind it is no part of its time."""
    stream = Stream(began=0.0)
    stream.due = 1
    assert stream.read(b"1 5ff", 0, 3) == Stamp(1, 5e-6)
