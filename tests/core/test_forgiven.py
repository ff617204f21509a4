"""The rule of pauses, by hand."""

from __future__ import annotations

import math

import pytest

from fanwise.core.forgiven import (
    Bound,
    Bounds,
    Traffic,
    forgiven,
    hidden_bytes,
    queue_limit,
    traffic,
    wire_size,
)
from fanwise.core.log import Log
from fanwise.core.publication import Kind

WIDE = Bounds(queue_messages=1024, queue_bytes=1_048_576)


@pytest.mark.parametrize(
    ("bounds", "rate", "size", "seconds", "bound"),
    [
        (WIDE, 100, 100, 10.24, Bound.MESSAGES),
        (WIDE, 100, 4096, 2.56, Bound.BYTES),
        (WIDE._replace(forgive_seconds=2), 100, 4096, 2, Bound.AGE),
        (WIDE._replace(forgive_seconds=3), 100, 4096, 2.56, Bound.BYTES),
        (WIDE._replace(stall_seconds=10), 10, 100, 10, Bound.STALL),
        (WIDE._replace(stall_seconds=10, forgive_seconds=9), 10, 100, 9, Bound.AGE),
        (WIDE._replace(pong_seconds=8), 0, 0, 8, Bound.PONG),
    ],
)
def test_the_first_bound_decides(bounds: Bounds, rate: float, size: float, seconds: float, bound: Bound) -> None:
    """In messages, in bytes, in age, or by the stall and pong rules."""
    found = forgiven(bounds, messages_per_second=rate, message_bytes=size, room_bytes=0 if rate else 1)
    assert found.seconds == pytest.approx(seconds)
    assert found.bound is bound


@pytest.mark.parametrize(
    ("bounds", "rate", "size", "messages", "bound"),
    [
        (WIDE, 5, 100, 1024, Bound.MESSAGES),
        (WIDE, 5, 0, 1024, Bound.MESSAGES),
        (WIDE, 5, 3000, 349, Bound.BYTES),
        (WIDE._replace(forgive_seconds=10.0), 5, 3000, 50, Bound.AGE),
        (WIDE._replace(stall_seconds=1.0, pong_seconds=1.0), 5, 100, 1024, Bound.MESSAGES),
    ],
)
def test_the_lag_at_which_a_queue_is_full(
    bounds: Bounds, rate: float, size: float, messages: float, bound: Bound
) -> None:
    """In messages, in bytes over their mean size, or in seconds times their rate."""
    assert queue_limit(bounds, messages_per_second=rate, message_bytes=size) == (messages, bound)


def test_what_the_kernels_hide_comes_on_top() -> None:
    """In frames of the plain dialect, or of a size that is given."""
    plain = forgiven(WIDE, messages_per_second=100, message_bytes=98, room_bytes=100_000)
    assert [plain.seconds, plain.hidden_seconds] == pytest.approx([20.24, 10])
    wide = forgiven(WIDE, messages_per_second=100, message_bytes=98, wire_bytes=200, room_bytes=100_000)
    assert wide.seconds == pytest.approx(15.24)
    assert [wire_size(125), wire_size(126)] == [127, 130]


def test_long_messages_hide_more() -> None:
    """As measured, and between two measurements in between: half of the way in factors is half of the way in bytes."""
    assert [hidden_bytes(size) for size in (1, 40, 155, 1_080, 60_000)] == [110e3, 110e3, 94e3, 134e3, 179e3]
    assert hidden_bytes((2_000 * 3_000) ** 0.5) == pytest.approx(162_000)
    found = forgiven(WIDE, messages_per_second=10, message_bytes=1_076)
    assert found.hidden_seconds == pytest.approx(134_000 / 10_800)


def test_pings_end_what_the_kernels_hide_for_long() -> None:
    """But not a pause that the queue has noticed before."""
    bounds = WIDE._replace(pong_seconds=8)
    slow = forgiven(bounds, messages_per_second=100, message_bytes=98, room_bytes=81_000)
    assert slow.seconds == 8
    assert slow.bound is Bound.PONG
    fast = forgiven(bounds, messages_per_second=100, message_bytes=98, room_bytes=79_000)
    assert fast.seconds == pytest.approx(18.14)
    assert fast.bound is Bound.MESSAGES


def test_traffic_is_read_off_the_log() -> None:
    """Of the last ten seconds, or of the time that the log covers; the first publications are those of a second."""
    log = Log("a", epoch="e", max_messages=100, max_bytes=1000)
    assert traffic(log, 0.0) is None
    log.append(b"1234", kind=Kind.TEXT, time=0.0)
    assert traffic(log, 0.01) == Traffic(1, 4)
    for step in range(1, 100):
        log.append(b"12345678", kind=Kind.TEXT, time=step / 4)
    assert traffic(log, 25.0) == Traffic(4, 8)
    assert traffic(log, 40.0) is None
    for step in range(100):
        log.append(b"1", kind=Kind.TEXT, time=50 + step / 1000)
    found = traffic(log, 50.1)
    assert found is not None
    assert found.messages_per_second == pytest.approx(1000)


def test_a_silent_channel_forgives_for_ever() -> None:
    """Unless pings ask for signs of life."""
    assert forgiven(WIDE, messages_per_second=0, message_bytes=0).seconds == math.inf
