"""WebSocket clients on real sockets, each with a thread of its own: they read, read slowly, pause, stall or vanish.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from ..errors import FanwiseError
from ..tools.load.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Handshake,
    client_frame,
    close_code,
    next_frame,
)

_CONNECT_SECONDS: Final = 10.0  # for the handshake
_HEAD_BYTES: Final = 65_536  # of the answer to a handshake
_MESSAGE_BYTES: Final = 1 << 26
_READ_BYTES: Final = 1 << 18
_END, _GO_ON = b"\0", b"\1"  # what wakes a client that waits
_LEAST_BUFFER: Final = 4_096  # asked of the kernel for clients that do not read: little is hidden from the server
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # the end is a RST, without a closing handshake
_SHOWN_BYTES: Final = 200


class HandshakeError(FanwiseError):
    """The server has refused a WebSocket. Attributes: `status` of HTTP, and `body`, both of the answer."""

    def __init__(self, url: str, status: int, body: str) -> None:
        super().__init__(url, status, body)
        self.url = url
        self.status = status
        self.body = body

    def __str__(self) -> str:
        why = self.body or "there is no such route, or the application has refused"
        return f"the handshake with {self.url} was answered with {self.status} instead of 101: {why}"


class Arrival(NamedTuple):
    """A message and when it came, on `time.perf_counter`."""

    seconds: float
    payload: str | bytes


class TestingClient:
    """A WebSocket client on a real socket.

    Args:
        url: "ws://127.0.0.1:8000/ws".
        headers: More headers of the handshake.
        subprotocol: The subprotocol that is offered: "fanwise.v1" is the JSON dialect.
        hello: Messages that are sent behind the handshake, to subscribe for example.
        on_close: Called with the client once it has been closed here.

    Raises:
        HandshakeError: The server has refused the WebSocket.
        OSError: There is no server.

    Attributes:
        kind: What the client is called in messages.
        address: The client as the server sees it: "127.0.0.1:50123".
        arrivals: The messages that have come, in their order.
        close_code: The code of the server's close frame; None before.
        close_text: The text of that frame.
        ended: Whether the connection has ended, as far as the client has read.
    """

    __test__ = False  # pytest collects no class of this name
    kind = "reading"
    misbehaves = False
    buffer_bytes = _LEAST_BUFFER  # of the kernel, for clients that misbehave

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocol: str | None = None,
        hello: Sequence[str] = (),
        on_close: Callable[[TestingClient], None] = lambda _: None,
    ) -> None:
        __tracebackhide__ = True
        self.url = url
        self.arrivals: list[Arrival] = []
        self.close_code: int | None = None
        self.close_text = ""
        self.ended = False
        self._taken = 0  # arrivals that `receive` has returned
        self._received_bytes = 0
        self._begun: tuple[int, bytes] | None = None  # opcode and payload of a message that goes on
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._on_close = on_close
        self._socket, self._buffer = self._connect(headers or {}, subprotocol)
        host, port = self._socket.getsockname()[:2]
        self.address = f"{host}:{port}"
        self._wake, self._wakes = socket.socketpair()
        self._thread = threading.Thread(target=self._work, name=f"fanwise {self.kind} client", daemon=True)
        self._thread.start()
        for message in hello:
            self.send(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.kind} client {self.address} of {self.url}>"

    def pace(self, seconds: float, received_bytes: int) -> tuple[int, float]:
        """Returns how many bytes may be read now, and how long to wait where that is 0.

        Args:
            seconds: Since the handshake.
            received_bytes: What was read since.
        """
        del seconds, received_bytes
        return _READ_BYTES, math.inf

    def send(self, payload: str | bytes, *, within_seconds: float = 10.0) -> None:
        """Sends a message, text or binary. Raises OSError if the server does not take it in time, or has left."""
        text = isinstance(payload, str)
        self._socket.settimeout(within_seconds)
        self._write(TEXT if text else BINARY, payload.encode() if isinstance(payload, str) else payload)

    def send_json(self, **op: Any) -> None:
        """Sends an operation of the JSON dialect."""
        self.send(json.dumps(op))

    def receive(self, *, within_seconds: float = 5.0) -> str | bytes:
        """Returns the next message. Raises AssertionError if none comes in time, or the connection has ended."""
        __tracebackhide__ = True
        self.wait_until(lambda: len(self.arrivals) > self._taken, within_seconds=within_seconds, what="a message")
        self._taken += 1
        return self.arrivals[self._taken - 1].payload

    def receive_json(self, *, within_seconds: float = 5.0) -> Any:
        """Returns the next message, parsed as JSON. Raises what `receive` raises."""
        __tracebackhide__ = True
        return json.loads(self.receive(within_seconds=within_seconds))

    def wait_for(self, messages: int, *, within_seconds: float = 10.0) -> list[str | bytes]:
        """Returns all messages once there are `messages` of them. Raises AssertionError if they do not come in time."""
        __tracebackhide__ = True
        enough = f"{messages} messages"
        self.wait_until(lambda: len(self.arrivals) >= messages, within_seconds=within_seconds, what=enough)
        return [arrival.payload for arrival in self.arrivals]

    def wait_closed(self, *, within_seconds: float = 5.0) -> int | None:
        """Returns the code that the server has closed with, None without a close frame; reads as the client reads.

        Raises AssertionError if the connection has not ended in time.
        """
        __tracebackhide__ = True
        with self._changed:
            if self._changed.wait_for(lambda: self.ended, within_seconds):
                return self.close_code
        raise AssertionError(f"{self} was not closed within {within_seconds:g} s, and has got {self._got()}")

    def wait_until(self, condition: Callable[[], bool], *, within_seconds: float, what: str) -> None:
        """Waits until `condition` holds, which is asked when something comes.

        Raises AssertionError, which says that `what` was waited for, if the time is up or the connection has ended.
        """
        __tracebackhide__ = True
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.ended, within_seconds)
            if condition():
                return
        how = self.ending if self.ended else f"waited {within_seconds:g} s"
        raise AssertionError(f"{self} waited for {what}, and has got {self._got()}: {how}")

    def close(self) -> None:
        """Sends a close frame and closes the socket. Idempotent."""
        with suppress(OSError):
            if self._thread.is_alive():
                self._socket.settimeout(0)  # a client that does not read may not be read from either
                self._write(CLOSE, (1000).to_bytes(2, "big"))
        self._release()

    def vanish(self) -> None:
        """Ends the connection without a closing handshake: the server's kernel gets a RST."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._release()

    def _got(self) -> str:
        if not self.arrivals:
            return "none"
        return f"{len(self.arrivals)}, the latest {self.arrivals[-1].payload[:_SHOWN_BYTES]!r}"

    @property
    def ending(self) -> str:
        """How the connection has ended, for people."""
        if self.close_code is None:
            return "the connection was lost without a close frame"
        return f"the server has closed with {self.close_code} {self.close_text!r}"

    def _connect(self, headers: Mapping[str, str], subprotocol: str | None) -> tuple[socket.socket, bytearray]:
        """Returns the socket of an accepted handshake, and what the server has sent behind it."""
        __tracebackhide__ = True
        url = urlsplit(self.url)
        lines = tuple(f"{name}: {value}" for name, value in headers.items())
        handshake = Handshake(url, subprotocol=subprotocol, headers=lines)
        peer = socket.socket()
        try:
            if self.misbehaves:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer_bytes)
            peer.settimeout(_CONNECT_SECONDS)
            peer.connect((url.hostname, url.port))
            peer.sendall(handshake.request)
            head, rest = _read_head(peer)
            refused = handshake.refusal(head) is not None
            body = _body(peer, rest) if refused else ""
        except BaseException:
            peer.close()
            raise
        if refused:
            peer.close()
            raise HandshakeError(self.url, _status(head), body)
        return peer, bytearray(rest)

    def _write(self, opcode: int, payload: bytes) -> None:
        with self._sending:
            self._socket.sendall(client_frame(opcode, payload))

    def _release(self) -> None:
        with suppress(OSError):
            self._wakes.send(_END)
        self._thread.join()
        for one in (self._socket, self._wake, self._wakes):
            one.close()
        self._on_close(self)

    def _work(self) -> None:
        """Reads at the client's pace until the connection ends or the client is closed."""
        began = time.monotonic()
        self._take()
        with suppress(OSError):
            while True:
                room, seconds = self.pace(time.monotonic() - began, self._received_bytes)
                watched = [self._wake, self._socket] if room else [self._wake]
                ready = wait(watched, None if seconds == math.inf else seconds)
                if self._wake in ready and self._wake.recv(1) == _END:
                    break
                if self._socket in ready:
                    data = self._socket.recv(room)
                    if not data:
                        break
                    self._received_bytes += len(data)
                    self._buffer += data
                    self._take()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _take(self) -> None:
        """Takes the whole frames out of the buffer."""
        seconds, start = time.perf_counter(), 0
        while (frame := next_frame(self._buffer, start, _MESSAGE_BYTES)) is not None:
            payload = bytes(self._buffer[frame.payload : frame.stop])
            start = frame.stop
            if frame.opcode in (PING, CLOSE):
                self._answer(frame.opcode, payload)
            else:
                self._add(seconds, frame.final, frame.opcode, payload)
        del self._buffer[:start]

    def _answer(self, opcode: int, payload: bytes) -> None:
        """Answers a ping, or the close frame, behind which nothing comes."""
        with suppress(OSError):
            self._write(PONG if opcode == PING else CLOSE, payload)
        if opcode == CLOSE:
            with self._changed:
                self.close_code, self.close_text = close_code(payload), payload[2:].decode(errors="replace")
                self.ended = True
                self._changed.notify_all()

    def _add(self, seconds: float, final: bool, opcode: int, payload: bytes) -> None:
        if opcode == CONTINUATION and self._begun is not None:
            opcode, payload = self._begun[0], self._begun[1] + payload
        self._begun = None if final else (opcode, payload)
        if final and opcode in (TEXT, BINARY):
            with self._changed:
                self.arrivals.append(Arrival(seconds, payload.decode() if opcode == TEXT else payload))
                self._changed.notify_all()


class ReadingClient(TestingClient):
    """A client that reads at once."""


class StalledClient(TestingClient):
    """A client that reads nothing: the smallest buffer that the kernel gives is all that it takes."""

    kind = "stalled"
    misbehaves = True

    def pace(self, seconds: float, received_bytes: int) -> tuple[int, float]:
        """Returns that nothing may be read."""
        del seconds, received_bytes
        return 0, math.inf


class SlowClient(TestingClient):
    """A client that reads `rate` bytes per second. Raises ValueError if that is not positive."""

    kind = "slow"
    misbehaves = True

    def __init__(self, url: str, *, rate: float, **options: Any) -> None:
        __tracebackhide__ = True
        if not rate > 0:
            raise ValueError(f"rate={rate!r} is not allowed: it is in bytes per second, and positive")
        self.rate = rate
        self.buffer_bytes = max(_LEAST_BUFFER, int(rate / 4))  # read in a quarter of a second
        super().__init__(url, **options)

    def pace(self, seconds: float, received_bytes: int) -> tuple[int, float]:
        """Returns what of the rate has not been read yet, twenty times a second."""
        room = int(self.rate * seconds) - received_bytes
        return (room, math.inf) if room > 0 else (0, max(0.05, (1 - room) / self.rate))


class PausingClient(TestingClient):
    """A client that reads nothing for its first `seconds`, or until `go_on`. Raises ValueError below 0."""

    kind = "pausing"
    misbehaves = True

    def __init__(self, url: str, *, seconds: float, **options: Any) -> None:
        __tracebackhide__ = True
        if not seconds >= 0:
            raise ValueError(f"seconds={seconds!r} is not allowed: a pause lasts 0 seconds or more")
        self.seconds = seconds
        super().__init__(url, **options)

    def pace(self, seconds: float, received_bytes: int) -> tuple[int, float]:
        """Returns that nothing may be read before the pause has ended."""
        del received_bytes
        return (_READ_BYTES, math.inf) if seconds >= self.seconds else (0, self.seconds - seconds)

    def go_on(self) -> None:
        """Ends the pause now, if the client was not closed."""
        self.seconds = 0.0
        with suppress(OSError):
            self._wakes.send(_GO_ON)


def _read_head(peer: socket.socket) -> tuple[bytes, bytes]:
    """Returns the head of an answer, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _HEAD_BYTES:
        more = peer.recv(4_096)
        if not more:
            break
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _status(head: bytes) -> int:
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _body(peer: socket.socket, rest: bytes) -> str:
    """Returns the beginning of a refusal's body, as much of it as has come."""
    peer.settimeout(0.2)
    with suppress(OSError):
        while len(rest) < _SHOWN_BYTES and (more := peer.recv(_SHOWN_BYTES)):
            rest += more
    return rest[:_SHOWN_BYTES].decode(errors="replace")
