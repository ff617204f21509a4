from __future__ import annotations

import socket

from server.sockets import SocketOptions


def test_the_options_reach_the_socket() -> None:
    """What the kernel may keep unsent, how long it waits for an acknowledgement, and how much it keeps in all."""
    with socket.socket() as sock:
        SocketOptions(unsent_bytes=12_345, send_buffer_bytes=50_000, user_timeout_seconds=2.5).apply(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 12_345
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2_500
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
