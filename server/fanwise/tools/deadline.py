"""Reading until a moment, however a server drips: a socket's own timeout begins anew with each byte."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any


class Deadline:
    """A moment until which a socket may be read, so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def apply(self, peer: socket.socket) -> None:
        """Lets the next call wait for as long as is left. Raises TimeoutError if nothing is."""
        left_seconds = self._ends_at - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError
        peer.settimeout(left_seconds)


class _Incoming(io.RawIOBase):
    """What a socket receives until a deadline."""

    def __init__(self, peer: socket.socket, deadline: Deadline) -> None:
        self._peer, self._deadline = peer, deadline
        self._file = peer.makefile("rb", buffering=0)  # keeps the socket open when `http.client` closes it

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._deadline.apply(self._peer)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """One that has to be there as a whole, its head included, so many seconds after it was asked for."""

    def __init__(self, peer: socket.socket, *args: Any, seconds: float, **named: Any) -> None:
        super().__init__(peer, *args, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_Incoming(peer, Deadline(seconds)))
