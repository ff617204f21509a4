"""`tuning.virtual_socket`: a simulated socket."""

from __future__ import annotations

from fanwise.core.log import Log
from fanwise.core.publication import Kind
from fanwise.core.reasons import CloseReason
from fanwise.tuning.clockwork import VirtualLoop
from fanwise.tuning.scene import Reader, Supply
from fanwise.tuning.virtual_socket import VirtualSocket


class Heard:
    """A `SinkOwner` that keeps what it hears."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.events: list[tuple[str, float]] = []

    def sink_paused(self) -> None:
        self.events.append(("paused", self.loop.time()))

    def sink_resumed(self) -> None:
        self.events.append(("resumed", self.loop.time()))

    def sink_receiving(self, *, held: bool) -> None: ...

    def sink_ponged(self, rtt_seconds: float) -> None: ...

    def sink_unanswered(self, seconds: float) -> bool:
        return False

    def sink_closed(self, reason: CloseReason) -> None: ...


def socket(loop: VirtualLoop, *pieces: tuple[float, float]) -> tuple[VirtualSocket, list[tuple[float, float]]]:
    got: list[tuple[float, float]] = []
    reader = Reader(name="a", channels=("c",), supply=Supply(pieces), room_bytes=300.0)
    return VirtualSocket(1, reader, loop, got=lambda when, published: got.append((when, published))), got


def test_what_does_not_fit_waits_for_a_step() -> None:
    """300 bytes of room and 100 bytes a second: the rest of 50 bytes goes when a fifth is free, after 0.6 s."""
    loop = VirtualLoop()
    sock, _ = socket(loop, (0.0, 100.0))
    owner = Heard(loop)
    sock.attach(owner)
    sock.write(bytes(350))
    assert (sock.writable, sock.buffered_bytes) == (False, 50)
    loop.run_until(0.5)
    assert sock.buffered_bytes == 50
    loop.run_until(0.7)
    assert sock.writable
    assert [(name, round(at, 6)) for name, at in owner.events] == [("paused", 0.0), ("resumed", 0.6)]


def test_a_kernel_that_waits_for_a_lost_segment_takes_nothing() -> None:
    """There was room after 0.6 s; the segment is sent again after 2 s."""
    loop = VirtualLoop()
    reader = Reader(name="a", channels=("c",), supply=Supply([(0.0, 100.0)]), room_bytes=300.0, shut=((0.5, 2.0),))
    sock = VirtualSocket(1, reader, loop, got=lambda _when, _published: None)
    sock.write(bytes(350))
    loop.run_until(1.9)
    assert sock.buffered_bytes == 50
    loop.run_until(2.1)
    assert sock.buffered_bytes == 0


def test_a_reader_has_a_publication_when_it_has_read_its_last_byte() -> None:
    """Written, buffered and read bytes tile: three of 100 bytes, a pause of a second in between."""
    loop, log = VirtualLoop(), Log("c", epoch="e", max_messages=10, max_bytes=1000)
    sock, got = socket(loop, (0.0, 100.0), (1.5, 0.0), (2.5, 100.0))
    for number in range(3):
        sock.note(log.append(bytes(100), kind=Kind.TEXT, time=0.0), end=100 * (number + 1))
    sock.write(bytes(300))
    loop.run_until(10.0)
    sock.read()
    assert [round(when, 6) for when, _ in got] == [1.0, 3.0, 4.0]
    assert sock.positions == {"c": 3}
    assert sock.waiting_bytes == 0.0


def test_a_sweep_is_told_how_much_fits() -> None:
    loop = VirtualLoop()
    sock, _ = socket(loop, (0.0, 0.0), (5.0, 10.0))
    assert sock.would_take(200) == 200
    sock.take(200)
    assert sock.would_take(200) == 100
    loop.run_until(6.0)
    assert sock.would_take(200) == 110


def test_an_aborted_socket_takes_nothing() -> None:
    loop = VirtualLoop()
    sock, _ = socket(loop, (0.0, 0.0))
    sock.write(bytes(350))
    sock.abort()
    sock.write(bytes(10))
    assert (sock.writable, sock.buffered_bytes, sock.would_take(1)) == (False, 0, 0)
    assert sock.lease.ended
