from __future__ import annotations

import errno
from collections.abc import Collection

import pytest

from fanwise.broadcaster.sweep import write_to_all
from fanwise.transport.sweep_writer import RingWriter, open_writer, probe
from fanwise.transport.uring import Ring

from .test_uring import needs_io_uring


def test_the_probe_passes_write() -> None:
    assert probe(write_to_all) == ""


@needs_io_uring
def test_the_probe_passes_the_ring() -> None:
    ring = Ring(entries=8)
    assert probe(ring.write_to_all) == ""
    ring.close()


@needs_io_uring
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


@needs_io_uring
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


@needs_io_uring
def test_a_kernel_that_fails_the_probe_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanwise.transport.sweep_writer.Ring", lambda: Ring(flags=0))
    assert "fails the probe" in open_writer("auto").why
