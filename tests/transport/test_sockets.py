from __future__ import annotations

import asyncio
import socket

import pytest

from fanwise.transport.sockets import SocketOptions, acknowledged_bytes, unanswered_seconds

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


def test_how_long_a_peer_has_been_silent() -> None:
    """Is what the kernel says: segments on their way, and the time since it last heard of the peer."""

    class Sock:
        def getsockopt(self, _level: int, _option: int, size: int, /) -> bytes:
            info = bytearray(104)
            info[24:28], info[56:60] = (3).to_bytes(4, "little"), (12_500).to_bytes(4, "little")
            return bytes(info[:size])

    assert unanswered_seconds(Sock()) == 12.5


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
        assert unanswered_seconds(sock) == 0
