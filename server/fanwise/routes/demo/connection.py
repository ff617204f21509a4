"""The WebSocket of a simulated client: a real socket, which may stop being read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

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
_READ_BYTES = 65_536  # of one read
_BEAT_SECONDS = 0.25
_MAX_HEAD_BYTES = 16_384
_MAX_FRAME_BYTES = 64 << 20  # other publishers of the channel have the server's own limit


class Connection:
    """One connection, from its handshake to its end, on the running event loop and without a transport.

    A client that does not read does not see the end: the close frame, and the end of the stream, stand behind unread
    data. So a client that has stopped sends an unsolicited pong four times a second (RFC 6455 section 5.5.3). A server
    that has given up the connection answers it with a reset.

    Args:
        handshake: The request that opens the connection.
        on_open: Called when the handshake has succeeded.
        on_message: Called with the data that contains a message, its frame and the time (monotonic seconds).
        on_lost: Called when an open connection has ended, unless by `leave` or `abort`, with the close code.
        receive_bytes: SO_RCVBUF, so that little hides in the kernel of a client that stops; None: the system's.
    """

    def __init__(
        self,
        handshake: Handshake,
        *,
        on_open: Callable[[], None],
        on_message: Callable[[bytes, Frame, float], None],
        on_lost: Callable[[int], None],
        receive_bytes: int | None = None,
    ) -> None:
        self._receive_bytes = receive_bytes
        self._handshake = handshake
        self._on_open = on_open
        self._on_message = on_message
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None  # once it is connected
        self._settled = asyncio.Event()  # the handshake has ended, or the connection
        self._opened = self._ended = self._stopped = False
        self._rest = b""  # the beginning of an unfinished frame
        self._beating: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """Its own end, as the server has it: "host:port"; empty while there is none."""
        if self._sock is None:
            return ""
        host, port, *_ = self._sock.getsockname()
        return f"{host}:{port}"

    async def open(self, target: Target) -> None:
        """Connects, and returns when the handshake has succeeded or was refused. A caller that gives up calls `abort`.

        Raises:
            OSError: The connection was refused.
        """
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._receive_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
            await self._loop.sock_connect(sock, target.address)
            sock.sendall(self._handshake.request)
        except BaseException:  # cancelled or not: the descriptor must not stay; raised again
            sock.close()
            raise
        if self._ended:
            sock.close()
            return
        self._sock = sock
        self._loop.add_reader(sock, self._readable, sock)
        await self._settled.wait()

    def say(self, text: bytes) -> None:
        """Sends a short text."""
        self._send(TEXT, text)

    def stop_reading(self) -> None:
        """Reads nothing any more. Idempotent."""
        if self._sock is not None and not self._stopped:
            self._stopped = True
            self._loop.remove_reader(self._sock)
            self._beat()

    def leave(self) -> None:
        """Ends the connection at once; a client that reads sends a close frame before, if the socket takes it."""
        if self._sock is not None and self._opened and not self._stopped:
            with suppress(OSError):  # a full socket is one
                self._sock.send(client_frame(CLOSE, NORMAL.to_bytes(2, "big")))
        self.abort()

    def abort(self) -> None:
        """Ends the connection at once, without a callback. Idempotent."""
        self._ended = True
        if self._beating is not None:
            self._beating.cancel()
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

    def _readable(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._take(self._rest + data if self._rest else data)

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
        self._beating = self._loop.call_later(_BEAT_SECONDS, self._beat)
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
