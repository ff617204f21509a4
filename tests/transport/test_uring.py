from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fanwise.broadcaster.sweep import BROKEN, write_to_all
from fanwise.transport.sweeping import RingWriter, _drain, _fill, _pair, open_writer, probe
from fanwise.transport.uring import Ring

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module", autouse=True)
def _kernel() -> None:
    try:
        Ring().close()
    except OSError as error:
        pytest.skip(f"this kernel gives no io_uring: {error}")


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


def test_the_probe_passes_write_and_the_ring(ring: Ring) -> None:
    assert probe(write_to_all) == ""
    assert probe(ring.write_to_all) == ""


def test_the_probe_refuses_a_kernel_that_leaves_requests_pending() -> None:
    assert "took" in probe(Ring(flags=0).write_to_all)


@pytest.mark.parametrize("fault", ["nothing is sent", "short is whole", "full is whole", "broken is full"])
def test_the_probe_refuses_what_answers_wrongly(fault: str) -> None:
    def wrong(fds: Collection[int], data: bytes) -> list[tuple[int, int]]:
        if fault == "nothing is sent":
            return write_to_all(list(fds)[1:], data)
        short = dict(write_to_all(fds, data))
        if fault == "short is whole":
            return [(fd, taken) for fd, taken in short.items() if taken <= 0]
        if fault == "full is whole":
            return [(fd, taken) for fd, taken in short.items() if taken != 0]
        return [(fd, max(taken, 0)) for fd, taken in short.items()]

    assert "took" in probe(wrong)


def test_auto_takes_the_ring_and_write_does_not() -> None:
    with_ring, without = open_writer("auto"), open_writer("write")
    assert (with_ring.name, with_ring.why) == ("io_uring", "")
    assert (without.name, without.why) == ("write", "by setting")
    with_ring.close()
    without.close()


def test_a_kernel_that_forbids_rings_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(_self: RingWriter) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(RingWriter, "__init__", forbid)
    assert (open_writer("auto").name, open_writer("auto").why) == ("write", "Operation not permitted")
    with pytest.raises(OSError, match="io_uring cannot be used: Operation not permitted"):
        open_writer("uring")
