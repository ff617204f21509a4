from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from fanwise.tools.bench.load.engine import GONE, Engine
from fanwise.tools.bench.load.receiver import Control, Lane, Receiver, Tally
from fanwise.tools.bench.load.stream import Progress, Stream
from fanwise.tools.load.wire import PING

from ....support.bench import PAYLOADS, frame, server_frame


class Room:
    """Clients on socket pairs, and their engine."""

    def __init__(self) -> None:
        self.controls: list[Control] = []
        self.lost: list[tuple[int, str]] = []
        self.engine = Engine(on_controls=lambda _fd, controls: self.controls.extend(controls), on_lost=self._on_lost)
        self.progress, self.tally = Progress(), Tally()
        self.lane = Lane(Stream(PAYLOADS), self.tally, progress=self.progress, measured_from=1)
        self.peers: list[socket.socket] = []
        self.sockets: list[socket.socket] = []
        self.receivers: list[Receiver] = []

    def _on_lost(self, fd: int, cause: str) -> None:
        self.lost.append((fd, cause))
        self.engine.forget(fd)

    def join(self) -> Receiver:
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        receiver = Receiver(self.lane, ours.recv_into)
        self.engine.watch(ours.fileno(), GONE, lambda _mask: None)
        self.engine.read(ours.fileno(), receiver)
        self.sockets.append(ours)
        self.peers.append(peer)
        self.receivers.append(receiver)
        return receiver

    def send(self, data: bytes) -> None:
        for peer in self.peers:
            peer.sendall(data)


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.engine.close()
    for sock in (*made.sockets, *made.peers):
        sock.close()


def test_everybody_gets_the_same(room: Room) -> None:
    """Only the first parses; all count, and the last one's progress is known."""
    for _ in range(20):
        room.join()
    for first in (1, 11, 21):
        room.send(b"".join(frame(sequence) for sequence in range(first, first + 10)))
        room.engine.turn(1)
        assert room.tally.deliveries == 20 * (first + 9)
        assert room.tally.latency.total == room.tally.deliveries
        assert room.progress.lowest == first + 10
    assert room.tally.lost == room.tally.duplicates == room.tally.corrupt == 0
    assert room.engine.lag.total == 60


def test_a_wrong_byte_in_the_middle_is_found(room: Room) -> None:
    """Comparing whole chunks misses nothing."""
    for _ in range(3):
        room.join()
    room.send(frame(1))
    room.engine.turn(1)
    chunk = bytearray(b"".join(frame(sequence) for sequence in range(2, 60)))
    room.peers[0].sendall(chunk)
    room.peers[1].sendall(chunk)
    chunk[len(chunk) // 2 + 40] ^= 1
    room.peers[2].sendall(chunk)
    room.engine.turn(1)
    assert (room.tally.corrupt, room.tally.deliveries) == (1, 3 * 59 - 1)


def test_a_member_on_the_stream_that_skips(room: Room) -> None:
    """Is seen to lose, and goes on with the others."""
    for _ in range(2):
        room.join()
    room.send(frame(1))
    room.engine.turn(1)
    room.peers[0].sendall(frame(2) + frame(3) + frame(4))
    room.peers[1].sendall(frame(2) + frame(4))
    room.engine.turn(1)
    assert room.tally.lost == 1
    assert all(receiver.position == room.lane.stream.end for receiver in room.receivers)


def test_a_ping_in_the_middle_of_a_turn(room: Room) -> None:
    """Those before and after it, who get the same, all count."""
    for _ in range(4):
        room.join()
    room.send(frame(1))
    room.engine.turn(1)
    for number, peer in enumerate(room.peers):
        peer.sendall((server_frame(b"", opcode=PING) if number == 2 else b"") + frame(2))
    room.engine.turn(1)
    assert (room.tally.deliveries, room.progress.lowest) == (8, 3)


def test_a_stream_that_starts_anew_in_the_middle_of_a_turn(room: Room) -> None:
    """What others received of the old one, in the same turn, is accounted for before it is forgotten."""
    for _ in range(3):
        room.join()
    room.send(frame(1))
    room.engine.turn(1)
    room.peers[0].sendall(frame(2))
    room.peers[1].sendall(frame(2))
    room.peers[2].sendall(frame(1000))
    room.engine.turn(1)
    assert (room.tally.deliveries, room.tally.lost, room.progress.lowest) == (6, 998, 3)
    room.peers[0].sendall(frame(3))
    room.engine.turn(1)
    assert room.receivers[0].expected == 4


def test_ends_and_controls_are_handed_out(room: Room) -> None:
    """A ping, a violation, an end; and the others are read in the same turn."""
    for _ in range(4):
        room.join()
    room.peers[0].sendall(server_frame(b"x", opcode=PING))
    room.peers[1].sendall(b"\xff\xff")
    room.peers[2].close()
    room.peers[3].sendall(frame(1))
    room.engine.turn(1)
    assert room.controls == [Control(PING, b"x")]
    fds = [sock.fileno() for sock in room.sockets]
    assert set(room.lost) == {(fds[1], "violated the protocol"), (fds[2], "ended without a close frame")}
    assert room.tally.deliveries == 1


def test_a_reset_is_told(room: Room) -> None:
    """Of a socket, not of a pair: those know no reset."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        ours = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        room.sockets.append(ours)
        ours.setblocking(False)
        room.engine.watch(ours.fileno(), select.EPOLLIN, lambda _mask: None)
        room.engine.read(ours.fileno(), Receiver(room.lane, ours.recv_into))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.close()
        room.engine.turn(1)
    assert room.lost == [(ours.fileno(), "reset")]


def test_reading_some(room: Room) -> None:
    """A client that the loop does not read is read as much as asked for."""
    receiver = room.join()
    fd = room.sockets[0].fileno()
    room.engine.watch(fd, GONE, lambda _mask: None)
    room.send(frame(1) + frame(2))
    assert room.engine.read_some(fd, receiver, len(frame(1)))
    assert room.tally.deliveries == 1
    assert room.engine.read_some(fd, receiver, 10_000)
    assert not room.engine.read_some(fd, receiver, 10_000)
    assert (room.tally.deliveries, room.lost) == (2, [])


def test_a_handler_hears_of_its_socket(room: Room) -> None:
    """Until it is replaced or forgotten."""
    heard: list[int] = []
    ours, peer = socket.socketpair()
    room.sockets += [ours, peer]
    room.engine.watch(ours.fileno(), select.EPOLLIN, heard.append)
    peer.sendall(b"x")
    room.engine.turn(1)
    room.engine.forget(ours.fileno())
    room.engine.forget(ours.fileno())
    room.engine.turn(0)
    assert heard == [select.EPOLLIN]
