"""One socket from `connect` to its end: the handshake without waiting, and what is sent on it."""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Callable
from urllib.parse import SplitResult

from ...load.wire import Handshake, client_frame
from ..errors import BenchFailedError
from .engine import GONE, Engine

_MAX_HEAD_BYTES = 16_384


class Connection:
    """A WebSocket being opened, or open. Calls back once: `on_open` with what came behind the handshake, or `on_fail`.

    Args:
        address: Resolved once for all, so that opening never waits for a name server.
        receive_buffer_bytes: What the kernel is asked to hold; None for its default.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        handshake: Handshake,
        address: tuple[int, tuple[str, int]],
        receive_buffer_bytes: int | None,
        on_open: Callable[[Connection, bytes], None],
        on_fail: Callable[[Connection, str], None],
    ) -> None:
        self._engine = engine
        self._handshake = handshake
        self._on_open = on_open
        self._on_fail = on_fail
        self._head = b""
        family, target = address
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.fd = self.socket.fileno()
        self.socket.connect_ex(target)  # its error comes back as SO_ERROR
        engine.watch(self.fd, select.EPOLLOUT, self._connected)

    @property
    def address(self) -> str:
        """Where the connection comes from, as the server sees it: "127.0.0.1:36836"; empty if unknown."""
        try:
            host, port, *_ = self.socket.getsockname()
        except OSError:
            return ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, opcode: int, payload: bytes) -> None:
        """Sends a small frame. A socket without room for the frame loses its connection: the peer does not read."""
        try:
            self.socket.send(client_frame(opcode, payload))
        except OSError:
            return  # the reading side hears of it

    def close(self, *, abort: bool = False) -> None:
        """Closes the socket; `abort` with a reset instead of a goodbye."""
        self._engine.forget(self.fd)
        if abort:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _connected(self, _mask: int) -> None:
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(f"cannot connect: {errno.errorcode.get(error, str(error))}")
            return
        try:
            self.socket.send(self._handshake.request)
        except OSError as failure:
            self._fail(f"cannot connect: {failure.strerror}")
            return
        self._engine.watch(self.fd, select.EPOLLIN, self._answered)

    def _answered(self, _mask: int) -> None:
        try:
            data = self.socket.recv(_MAX_HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError as failure:
            self._fail(f"the handshake failed: {failure.strerror}")
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and data and len(self._head) < _MAX_HEAD_BYTES:
            return
        refusal = self._handshake.refusal(head) if end else "the server ended the handshake half-way"
        if refusal:
            self._fail(refusal)
            return
        self._engine.watch(self.fd, GONE, lambda _mask: None)  # until its owner says how it is read
        self._on_open(self, rest)

    def _fail(self, reason: str) -> None:
        self.close()
        self._on_fail(self, reason)


def resolve(url: SplitResult) -> tuple[int, tuple[str, int]]:
    """(family, address) of a `ws://` URL.

    Raises:
        BenchFailedError: The name is not known.
    """
    try:
        found = socket.getaddrinfo(url.hostname, url.port or 80, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BenchFailedError(f"{url.hostname} is no host that can be reached: {error.strerror}") from error
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))
