from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fanwise.broadcaster.sweep import BROKEN, write_to_all
from fanwise.transport.sweep_writer import _drain, _fill, _pair
from fanwise.transport.uring import Ring

Pair = tuple[socket.socket, socket.socket]


def _forbidden() -> str:
    try:
        Ring().close()
    except OSError as error:
        return f"this kernel gives no io_uring: {error}"
    return ""


needs_io_uring = pytest.mark.skipif(bool(_forbidden()), reason=_forbidden())
pytestmark = needs_io_uring


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring(entries=8)
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Twenty idle pairs: more than two rings' entries."""
    with ExitStack() as stack:
        yield [_pair(stack) for _ in range(20)]


def numbers(pairs: list[Pair]) -> list[int]:
    return [pair[0].fileno() for pair in pairs]


def test_everybody_gets_each_slice_while_the_queues_turn_round_many_times(ring: Ring, pairs: list[Pair]) -> None:
    for size in range(1, 60):
        data = os.urandom(size)
        members = numbers(pairs)[: 1 + size % len(pairs)]
        assert ring.write_to_all(members, data) == []
        assert [_drain(peer) for _, peer in pairs[: len(members)]] == [data] * len(members)


def test_what_is_not_sent_whole_is_told_as_write_tells_it(ring: Ring, pairs: list[Pair]) -> None:
    large = os.urandom(4_194_304)
    _fill(pairs[3][0])
    pairs[9][1].close()
    by_ring = ring.write_to_all(numbers(pairs), large)
    seen = [_drain(peer) for place, (_, peer) in enumerate(pairs) if place not in (3, 9)]
    _fill(pairs[3][0])
    assert by_ring == write_to_all(numbers(pairs), large)
    assert dict(by_ring)[pairs[3][0].fileno()] == 0
    assert dict(by_ring)[pairs[9][0].fileno()] == BROKEN
    assert all(large.startswith(part) and 0 < len(part) < len(large) for part in seen)


def test_a_number_that_is_no_socket_is_broken_and_stops_nobody(ring: Ring, pairs: list[Pair]) -> None:
    with Path(os.devnull).open("wb") as file:
        fds = [1_000_000, file.fileno(), *numbers(pairs)]
        assert ring.write_to_all(fds, b"x") == [(1_000_000, BROKEN), (file.fileno(), BROKEN)]
    assert [_drain(peer) for _, peer in pairs] == [b"x"] * len(pairs)


def test_a_peer_that_is_gone_raises_no_signal(ring: Ring, pairs: list[Pair]) -> None:
    pairs[0][1].close()
    assert ring.write_to_all(numbers(pairs[:1]), b"x") == [(pairs[0][0].fileno(), BROKEN)]


def test_a_request_that_outlives_its_call_breaks_its_socket_and_ends_the_ring(pairs: list[Pair]) -> None:
    waiting = Ring(entries=8, flags=0)  # without MSG_DONTWAIT
    _fill(pairs[2][0])
    assert waiting.write_to_all(numbers(pairs[:4]), b"one") == [(pairs[2][0].fileno(), BROKEN)]
    assert waiting.broken
    assert waiting.write_to_all(numbers(pairs[3:5]), b"two") == []  # with write(2)
    assert _drain(pairs[3][1]) == b"onetwo"


def test_a_ring_that_is_closed_goes_on_with_write(ring: Ring, pairs: list[Pair]) -> None:
    ring.close()
    ring.close()
    assert ring.write_to_all(numbers(pairs), b"x") == []
    assert [_drain(peer) for _, peer in pairs] == [b"x"] * len(pairs)


def test_what_the_kernel_takes_no_request_for_is_written(ring: Ring, pairs: list[Pair]) -> None:
    """A system call that submits fewer entries than it was given; the queue is clean after it."""
    enter = ring._syscall

    def half(number: int, fd: object, count: int, *rest: object) -> int:
        return int(enter(number, fd, count // 2, *rest))

    ring._syscall = half
    assert ring.write_to_all(numbers(pairs[:7]), b"one") == []
    ring._syscall = enter
    assert ring.write_to_all(numbers(pairs[:8]), b"two") == []
    assert [_drain(peer) for _, peer in pairs[:8]] == [b"onetwo"] * 7 + [b"two"]
