"""The WebSocket of a simulated client: a real socket, read in the way of its kind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from ...tools.load.behaviour import Behaviour
from ...tools.load.wire import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    Handshake,
    ProtocolViolation,
    client_frame,
    close_code,
    next_frame,
)
from .target import Target

NORMAL = 1000
ABORTED = 1006  # the code of an end without a close frame (RFC 6455 section 7.1.5)
SLOW_BYTES_PER_SECOND = 8192
_READ_BYTES = 65_536  # of one read
_FEW_BYTES = 4096  # of one read, and SO_RCVBUF, of slow and stalled clients: little hides in their kernel
_BEAT_SECONDS = 1.0
_MAX_HEAD_BYTES = 16_384
_MAX_FRAME_BYTES = 64 << 20  # other publishers of the channel have the server's own limit


class Connection:
    """One connection, from its handshake to its end, on the running event loop and without a transport.

    A client that does not read does not see the end: the close frame, and the end of the stream, stand behind unread
    data. So slow and stalled clients send an unsolicited pong each second (RFC 6455 section 5.5.3). A server that has
    given up the connection answers it with a reset.

    Args:
        kind: Its way of reading.
        handshake: The request that opens the connection.
        on_open: Called when the handshake has succeeded.
        on_message: Called with the data that contains a message, its frame and the time (monotonic seconds).
        on_lost: Called when an open connection has ended, unless by `leave` or `abort`, with the close code.
    """

    def __init__(
        self,
        kind: Behaviour,
        handshake: Handshake,
        *,
        on_open: Callable[[], None],
        on_message: Callable[[bytes, Frame, float], None],
        on_lost: Callable[[int], None],
    ) -> None:
        self._kind = kind
        self._few = kind is not Behaviour.HEALTHY
        self._handshake = handshake
        self._on_open = on_open
        self._on_message = on_message
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None  # once it is connected
        self._settled = asyncio.Event()  # the handshake has ended, or the connection
        self._opened = self._ended = False
        self._rest = b""  # the beginning of an unfinished frame
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}  # {what is called later: its timer}

    async def open(self, target: Target) -> None:
        """Connects, and returns when the handshake has succeeded or was refused. A caller that gives up calls `abort`.

        Raises:
            OSError: The connection was refused.
        """
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._few:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _FEW_BYTES)
            await self._loop.sock_connect(sock, target.address)
            sock.sendall(self._handshake.request)
        except BaseException:  # cancelled or not: the descriptor must not stay; raised again
            sock.close()
            raise
        if self._ended:
            sock.close()
            return
        self._sock = sock
        self._read_on()
        await self._settled.wait()

    def leave(self) -> None:
        """Ends the connection at once; a client that reads sends a close frame before, if the socket takes it."""
        if self._sock is not None and self._opened and self._kind is not Behaviour.STALLED:
            with suppress(OSError):  # a full socket is one
                self._sock.send(client_frame(CLOSE, NORMAL.to_bytes(2, "big")))
        self.abort()

    def abort(self) -> None:
        """Ends the connection at once, without a callback. Idempotent."""
        self._ended = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        self._settled.set()

    def _end(self, code: int = ABORTED) -> None:
        if not self._ended:
            self.abort()
            if self._opened:
                self._on_lost(code)

    # Reading.

    def _read_on(self) -> None:
        if self._sock is not None:
            self._loop.add_reader(self._sock, self._readable, self._sock)

    def _readable(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_FEW_BYTES if self._few else _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._take(self._rest + data if self._rest else data)
        self._rein(len(data))

    def _rein(self, came_bytes: int) -> None:
        """Stops the reading of a slow client for a while, and that of a stalled one for good after the handshake."""
        if self._few and self._sock is not None:
            self._loop.remove_reader(self._sock)
            if self._kind is Behaviour.SLOW or not self._opened:
                self._later(came_bytes / SLOW_BYTES_PER_SECOND, self._read_on)

    def _take(self, data: bytes) -> None:
        if not self._opened:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end and len(head) <= _MAX_HEAD_BYTES:
                self._rest = head
                return
            if not end or self._handshake.refusal(head) is not None:
                self._end()
                return
            self._open()
        try:
            self._rest = data[self._read_frames(data) :]
        except ProtocolViolation:
            self._end()

    def _open(self) -> None:
        self._opened = True
        self._on_open()
        self._settled.set()
        if self._few:
            self._beat()

    def _read_frames(self, data: bytes) -> int:
        """Returns where the first unfinished frame begins."""
        now, offset = monotonic(), 0
        while not self._ended and (frame := next_frame(data, offset, _MAX_FRAME_BYTES)):
            if frame.opcode in (TEXT, BINARY):
                self._on_message(data, frame, now)
            elif frame.opcode == PING:
                self._send(PONG, data[frame.payload : frame.stop])
            elif frame.opcode == CLOSE:
                self._send(CLOSE, data[frame.payload : frame.payload + 2])
                self._end(close_code(data[frame.payload : frame.stop]))
            offset = frame.stop
        return offset

    # Writing.

    def _beat(self) -> None:
        self._later(_BEAT_SECONDS, self._beat)
        self._send(PONG, b"")

    def _send(self, opcode: int, payload: bytes) -> None:
        """A small frame; a socket that is too full for it loses it. That the server has gone is found out here."""
        if self._sock is None:
            return
        try:
            self._sock.send(client_frame(opcode, payload))
        except BlockingIOError:
            return
        except OSError:
            self._end()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers[call] = self._loop.call_later(seconds, call)
