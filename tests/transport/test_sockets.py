from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

import pytest

from fanwise.transport.sockets import (
    SocketOptions,
    acknowledged_bytes,
    ask_every,
    is_answering,
    unanswered_packets,
    unanswered_seconds,
)

from ..support.live import until


def test_the_options_reach_the_socket() -> None:
    """What the kernel may keep unsent, how much it keeps in all, and that it sends at once."""
    with socket.socket() as sock:
        SocketOptions(unsent_bytes=12_345, send_buffer_bytes=50_000).apply(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 12_345
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 100_000  # Linux doubles it: socket(7)


def test_the_kernel_keeps_its_own_buffer_size_unless_told() -> None:
    """Setting it would switch autotuning off."""
    with socket.socket() as sock:
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        SocketOptions().apply(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before


def test_what_a_socket_does_not_know_is_left_out() -> None:
    """A Unix socket has no TCP options, and works all the same."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        SocketOptions().apply(ours)
        ours.send(b"x")
        assert theirs.recv(9) == b"x"


def test_a_peer_that_acknowledges_is_there() -> None:
    """Whether it reads or not: its kernel answers for it. What is no TCP socket tells nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        ours, _ = server.accept()
        with ours:
            ours.send(b"x")
            assert peer.recv(1) == b"x"
            assert unanswered_seconds(ours) == 0
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert unanswered_seconds(one) == 0
        assert unanswered_packets(one) is None
        assert not is_answering(one, within_seconds=8.0)
        ask_every(one, 1.0)


def test_how_long_a_peer_has_been_silent() -> None:
    """Is what the kernel says: segments on their way, and the time since it last heard of the peer."""

    class Sock:
        def getsockopt(self, _level: int, _option: int, size: int, /) -> bytes:
            info = bytearray(104)
            info[24:28], info[56:60] = (3).to_bytes(4, "little"), (12_500).to_bytes(4, "little")
            return bytes(info[:size])

    assert unanswered_seconds(Sock()) == 12.5


class Told:
    """A socket of which the kernel says this, in the layout of linux/tcp.h."""

    def __init__(self, *, retransmits: int = 0, probes: int = 0, unacked: int = 0, sent_ms: int, heard_ms: int) -> None:
        self.info = bytearray(104)
        self.info[2:4] = retransmits, probes
        for place, value in ((24, unacked), (44, sent_ms), (56, heard_ms)):
            self.info[place : place + 4] = value.to_bytes(4, "little")

    def getsockopt(self, _level: int, _option: int, size: int, /) -> bytes:
        return bytes(self.info[:size])


@pytest.mark.parametrize(
    ("told", "unanswered"),
    [
        (Told(sent_ms=30_288, heard_ms=4), 0),  # a reader that was stopped 30 s ago: each probe is answered
        (Told(probes=1, sent_ms=720, heard_ms=484), 1),  # and while an answer is on its way
        (Told(probes=2, sent_ms=30_332, heard_ms=22_788), 2),  # a stopped reader that vanished 20 s ago
        (Told(retransmits=4, unacked=38, sent_ms=8, heard_ms=3_400), 4),  # a reader that vanished 3 s ago
        (Told(retransmits=4, unacked=3, sent_ms=900, heard_ms=899), 0),  # a full one that answers and drops data
        (Told(unacked=3, sent_ms=0, heard_ms=32), 0),  # one that reads
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux only")
def test_what_a_peer_s_kernel_has_not_answered(told: Told, unanswered: int) -> None:
    """As Linux 6.18 has said it of readers that were stopped, and of peers whose answers were dropped on their way."""
    assert unanswered_packets(told) == unanswered


@pytest.mark.parametrize(
    ("told", "answering"),
    [
        (Told(sent_ms=9_000, heard_ms=8_999), True),  # a reader that was stopped has acknowledged its ping
        (Told(probes=1, sent_ms=9_000, heard_ms=12_000), True),  # one whose window is closed is being asked
        (Told(probes=2, sent_ms=9_000, heard_ms=12_000), False),  # and has vanished meanwhile
        (Told(retransmits=5, unacked=1, sent_ms=3_000, heard_ms=9_000), False),  # one that had vanished before its ping
        (Told(unacked=1, sent_ms=9_000, heard_ms=9_000), False),  # also when nothing was sent again
        (Told(retransmits=2, unacked=9, sent_ms=200, heard_ms=7_999), True),  # one on a bad line
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux only")
def test_whose_kernel_answers(told: Told, answering: bool) -> None:
    """All is acknowledged or asked for, or something came lately."""
    assert is_answering(told, within_seconds=8.0) is answering


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux only")
async def test_the_kernel_of_a_stopped_reader_answers() -> None:
    """When its window is closed it is asked, and answers; older kernels are not told how often to ask."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with socket.create_connection(server.getsockname()) as ours:
            theirs, _ = server.accept()
            with theirs:
                ours.setblocking(False)
                ask_every(ours, 0.1)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        ours.send(b"x" * 65_536)
                await until(lambda: ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[4] >= 2)
                assert unanswered_packets(ours) in {0, 1}
                await until(lambda: unanswered_packets(ours) == 0)


@pytest.mark.anyio
async def test_a_socket_whose_transport_is_closed_tells_nothing() -> None:
    """Sockets of uvloop raise ValueError then, and those of asyncio OSError: both are zero."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.getsockname())
        sock = transport.get_extra_info("socket")
        transport.abort()
        await until(lambda: sock.fileno() < 0)
        assert acknowledged_bytes(sock) == 0
        assert unanswered_packets(sock) is None
        ask_every(sock, 1.0)
        assert unanswered_seconds(sock) == 0
