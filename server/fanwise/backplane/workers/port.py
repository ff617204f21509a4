"""A TCP port that several listeners share (SO_REUSEPORT, socket(7)): the kernel spreads new connections over them."""

from __future__ import annotations

import socket
from typing import Self


class SharedPort:
    """A port that belongs to this process from `reserve` to `close`.

    Attributes:
        number: The port's number.
    """

    def __init__(self, host: str, reservation: socket.socket) -> None:
        self._host = host
        self._reservation = reservation  # bound, and never listening: it gets no connection
        self.number: int = reservation.getsockname()[1]

    @classmethod
    def reserve(cls, host: str, port: int) -> Self:
        """Reserves a port; 0 takes a free one.

        Raises:
            OSError: Another program listens on the port, or the address is none of this machine.
        """
        if port:
            with _socket(host) as probe:  # without SO_REUSEPORT: another server of this user would share the port
                probe.bind((host, port))
        return cls(host, _bound(host, port))

    def listener(self) -> socket.socket:
        """Returns a socket that is bound, and does not listen yet. Raises OSError."""
        return _bound(self._host, self.number)

    def close(self) -> None:
        """Frees the port when all listeners are closed, too."""
        self._reservation.close()


def _socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def _bound(host: str, port: int) -> socket.socket:
    sock = _socket(host)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
