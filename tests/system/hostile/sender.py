"""Sends what no honest client sends, over plain sockets; bounded in bytes, seconds and connections.

Only the standard library is imported: a process of it starts in a few hundredths of a second, without site-packages.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

_BLOCK_BYTES = 262_144  # handed to the kernel at once
_MAX_BYTES = 4_294_967_296  # of one process
_TAIL_BYTES = 256  # a close frame is shorter
_TICK_SECONDS = 0.005
NUMBER = b"#######"
_CLOSE, _PING, _PONG = 0x88, 0x89, 0x8A
_SWITCHING = "101"


class Step(NamedTuple):
    """Bytes to send.

    Attributes:
        data: The bytes; with `numbered`, NUMBER in them stands for a number of as many digits.
        times: How often.
        every_seconds: Between two of them; 0: as fast as the socket takes them.
        awaits: What has to be received first.
        numbered: Whether each time has its own number, from 0.
        makes: Returns `data` when a connection is opened: for bytes that take milliseconds to make.
    """

    data: bytes
    times: int = 1
    every_seconds: float = 0.0
    awaits: bytes = b""
    numbered: bool = False
    makes: Callable[[], bytes] | None = None


class Plan(NamedTuple):
    """What one attacker does.

    Attributes:
        steps: What each connection sends.
        connections: How many are opened.
        seconds: After which the process ends by itself.
        read_bytes_per_second: Of each connection; 0: nothing is read.
        again: Whether a connection that was closed is replaced.
        hangs_up: Whether a connection ends (FIN) when all is sent.
        pongs: Whether pings are answered.
        quiet_seconds: Silence of the server, once it has answered, after which a connection that has sent all ends.
    """

    steps: tuple[Step, ...] = ()
    connections: int = 1
    seconds: float = 5.0
    read_bytes_per_second: float = math.inf
    again: bool = False
    hangs_up: bool = False
    pongs: bool = False
    quiet_seconds: float = math.inf


class Source:
    """The bytes of a plan's steps, in order."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = [step._replace(data=step.makes()) if step.makes else step for step in steps]
        self._block = b""
        self._at = 0
        self._left = 0  # bytes of this step; for a numbered or timed one, of this block
        self._number = 0
        self._due = 0.0

    @property
    def done(self) -> bool:
        return not self._steps

    def next(self, received: bytes, now: float) -> memoryview:
        """What may be sent now; empty while the next step has to wait."""
        if not self._steps:
            return memoryview(b"")
        if not self._left and not self._fill(received, now):
            return memoryview(b"")
        return memoryview(self._block)[self._at : self._at + self._left]

    def sent(self, count: int, now: float) -> None:
        step = self._steps[0]
        self._left -= count
        self._at = (self._at + count) % len(self._block)
        if self._left:
            return
        self._due = now + step.every_seconds
        if self._number >= step.times:
            del self._steps[0]
            self._number = 0

    def _fill(self, received: bytes, now: float) -> bool:
        step = self._steps[0]
        if step.awaits not in received or now < self._due:
            return False
        if step.numbered:
            count = min(max(1, _BLOCK_BYTES // len(step.data)), step.times - self._number)
            numbers = range(self._number, self._number + count)
            self._block = b"".join([step.data.replace(NUMBER, b"%07d" % number) for number in numbers])
            self._left = len(self._block)
        elif step.every_seconds:
            count, self._block, self._left = 1, step.data, len(step.data)
        else:
            count = step.times
            self._block = step.data * min(count, max(1, _BLOCK_BYTES // len(step.data)))
            self._left = len(step.data) * count
        self._number += count
        self._at = 0
        return True


class Connection:
    """One connection, from its opening to its end."""

    def __init__(self, port: int, plan: Plan) -> None:
        self.sock = socket.socket()
        if math.isfinite(plan.read_bytes_per_second):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self.sock.settimeout(plan.seconds)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.plan = plan
        self.source = Source(plan.steps)
        self.since = self.heard = time.monotonic()
        self.head = b""
        self.tail = b""
        self.sent_bytes = self.received_bytes = 0
        self.closed_at: float | None = None
        self.hung_up = False

    @property
    def end(self) -> str:
        """How it has ended: a close code, an HTTP status, "closed" without a word, or "open"."""
        status = self.head[9:12].decode("latin-1") if self.head.startswith(b"HTTP/1.") else ""
        if status == _SWITCHING or (not status and self.closed_at is not None):
            code = close_code(self.tail)
            status = str(code) if code else ("closed" if self.closed_at is not None else "open")
        return status or "open"

    def events(self, now: float) -> int:
        reads = self.received_bytes <= self.plan.read_bytes_per_second * (now - self.since)
        ready = self.source.next(self.head, now)
        # The head of an answer is read in any case: steps wait for it.
        reads = reads or not self.head
        return (
            select.POLLRDHUP * (self.plan.read_bytes_per_second == 0)
            | select.POLLIN * reads
            | select.POLLOUT * bool(len(ready))
        )

    def work(self, event: int, now: float) -> None:
        try:
            if event & select.POLLOUT:
                count = self.sock.send(self.source.next(self.head, now))
                self.sent_bytes += count
                self.source.sent(count, now)
                if self.source.done and self.plan.hangs_up:
                    self.hung_up = True
                    self.sock.shutdown(socket.SHUT_WR)
            if event & select.POLLIN:
                self._read(now)
            if event & (select.POLLHUP | select.POLLERR | select.POLLRDHUP):
                self._drain(now)
        except BlockingIOError:
            pass
        except OSError:
            self._drain(now)

    def _read(self, now: float) -> bool:
        data = self.sock.recv(65_536 if math.isinf(self.plan.read_bytes_per_second) else 8_192)
        self.heard = now
        if not data:
            self._close(now)
            return False
        self.received_bytes += len(data)
        if self.plan.pongs and data[0] == _PING:  # what it has sent was whole frames
            self.sock.send(bytes([_PONG, 0x80 | data[1]]) + bytes(4) + data[2 : 2 + data[1]])
        if len(self.head) < 4 * _TAIL_BYTES:
            self.head += data[: 4 * _TAIL_BYTES]
        self.tail = (self.tail + data)[-_TAIL_BYTES:]
        return True

    def _drain(self, now: float) -> None:
        """Reads what came before the end."""
        with contextlib.suppress(OSError):
            while self._read(now):
                continue
        self._close(now)

    def _close(self, now: float) -> None:
        if self.closed_at is None:
            self.closed_at = now
            self.sock.close()

    def quiet(self, now: float) -> bool:
        return self.source.done and bool(self.head) and now - self.heard > self.plan.quiet_seconds


def close_code(tail: bytes) -> int | None:
    """The code of the close frame that `tail` ends with."""
    for at in range(len(tail) - 3):
        if tail[at] == _CLOSE and at + 2 + tail[at + 1] == len(tail):
            return int.from_bytes(tail[at + 2 : at + 4])
    return None


class Attack:
    """Runs a plan against a port; `on_open` is called when all of its connections were opened."""

    def __init__(self, plan: Plan, port: int, *, on_open: Callable[[], None]) -> None:
        self._plan = plan
        self._on_open = on_open
        self._port = port
        self._end = time.monotonic() + plan.seconds
        self._ends: Counter[str] = Counter()
        self._closed_seconds: list[float] = []
        self._left_open = 0
        self._sent_bytes = self._received_bytes = 0
        self._by_fd: dict[int, Connection] = {}
        self._poll = select.poll()

    def run(self) -> dict[str, Any]:
        for _ in range(self._plan.connections):
            self._open()
        self._on_open()
        while self._by_fd and (now := time.monotonic()) < self._end and self._sent_bytes < _MAX_BYTES:
            for fd, connection in self._by_fd.items():
                self._poll.modify(fd, connection.events(now))
            for fd, event in self._poll.poll(_TICK_SECONDS * 1000):
                self._by_fd[fd].work(event, time.monotonic())
            for fd, connection in list(self._by_fd.items()):
                if connection.closed_at is not None or connection.quiet(now):
                    self._forget(fd, connection)
        for fd, connection in list(self._by_fd.items()):
            self._forget(fd, connection)
        return self.report

    @property
    def report(self) -> dict[str, Any]:
        return {
            "ends": dict(self._ends),
            "closed_seconds": None if self._left_open else max(self._closed_seconds, default=None),
            "sent_bytes": self._sent_bytes,
            "received_bytes": self._received_bytes,
        }

    def _open(self) -> None:
        try:
            connection = Connection(self._port, self._plan)
        except OSError:
            self._ends["refused"] += 1
            return
        self._by_fd[connection.sock.fileno()] = connection
        self._poll.register(connection.sock.fileno(), 0)

    def _forget(self, fd: int, connection: Connection) -> None:
        del self._by_fd[fd]
        self._poll.unregister(fd)
        self._ends[connection.end] += 1
        self._sent_bytes += connection.sent_bytes
        self._received_bytes += connection.received_bytes
        if connection.closed_at is None:
            self._left_open += 1
        else:
            self._closed_seconds.append(connection.closed_at - connection.since)
            if self._plan.again and time.monotonic() < self._end:
                self._open()
        connection.sock.close()
