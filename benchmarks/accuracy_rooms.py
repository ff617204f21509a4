"""What the kernels of both sides take of a client that does not read, and when they take more of one that reads slowly.

    python -m benchmarks.accuracy_rooms [--sizes 155,370] [--gap 0.01] [--receive-buffer 65536] [--segment 1448]

Connections on loopback, all at the same time: the server's side has the options of `transport.sockets`, the client's
side reads for a while. Then messages come one at a time, each as a segment of its own, until no more is taken for a
second. That is the room: what `core.forgiven` has a table of. After that the client reads slowly, and the server writes
all that fits, whenever its kernel says that there is room. How much was read by then is the step.

`--receive-buffer 0` leaves the client's buffer to the kernel, which lets it grow. `--segment` makes segments as short
as those of a real network are.
"""

from __future__ import annotations

import argparse
import select
import socket
import statistics
import time
from heapq import heapify, heappop, heappush
from typing import Final

from fanwise.transport.sockets import SocketOptions, kernel_bytes

SIZES: Final = (20, 40, 80, 155, 370, 1080, 2000, 3000, 5000, 16_000, 60_000)
FULL_SECONDS: Final = 1.0  # in which nothing is taken
MOST_SECONDS: Final = 60.0
TICK_SECONDS: Final = 0.01
WARM: Final = 100  # messages that are read at once, before
_MANY: Final = 1 << 18
_SLICE: Final = 65_536


class Pair:
    """A connection, seen from both sides."""

    def __init__(self, size: int, *, receive_buffer: int, segment: int) -> None:
        self.size = size
        with socket.socket() as listener:
            self.client = socket.socket()
            for sock in (listener, self.client) if segment else ():
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            if receive_buffer:
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.client.connect(listener.getsockname())
            self.server, _ = listener.accept()
        SocketOptions().apply(self.server)
        for sock in (self.server, self.client):
            sock.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self.server, select.POLLOUT)
        self.taken = 0
        self.read = 0
        self.full = False
        self.room = self.at_server = 0
        self.fulls: list[int] = []
        self.steps: list[int] = []
        self._rest = 0
        self._full_at: float | None = None
        self._budget = 0.0

    @property
    def level(self) -> int:
        """Bytes that are on their way, in both kernels."""
        return self.taken - self.read

    @property
    def writable(self) -> bool:
        """Whether the server's kernel says that there is room."""
        return bool(self._poll.poll(0))

    def take(self, limit: int) -> int:
        """The client reads once."""
        try:
            size = len(self.client.recv(limit))
        except BlockingIOError:
            return 0
        self.read += size
        return size

    def offer(self, size: int) -> int:
        """The server writes once."""
        try:
            sent = self.server.send(b"x" * size)
        except BlockingIOError:
            return 0
        self.taken += sent
        return sent

    def trickle(self, now: float, gap: float) -> float | None:
        """Sends the next message, or what is left of one; returns when to go on; None: the room is full."""
        self._rest = (self._rest or self.size) - (sent := self.offer(self._rest or self.size))
        if sent:
            self._full_at = None
        elif self._full_at is None:
            self._full_at = now
        elif now - self._full_at > FULL_SECONDS:
            self.full = True
            return None
        return now + (TICK_SECONDS if self._rest else gap)

    def close_room(self) -> None:
        """Notes what was taken, also of a room that is not full yet."""
        self.at_server = kernel_bytes(self.server)
        self.room = self.level

    def line(self) -> str:
        """Returns what was found."""
        more = " " if self.full else ">"
        full, step = (statistics.median(found or [0]) for found in (self.fulls, self.steps))
        share = step / full if full else 0.0
        return f"{self.size:>18} {more}{self.room:>8} {self.at_server:>20} {full:>12.0f} {step:>6.0f} {share:>8.0%}"

    def follow(self, rate: float, seconds: float) -> None:
        """The client reads at `rate`; the server writes all that fits when it hears that there is room."""
        self._budget = min(self._budget, rate * TICK_SECONDS) + rate * seconds
        while self._budget >= 1 and (size := self.take(int(self._budget))):
            self._budget -= size
        if self.fulls and self.writable:
            self.steps.append(self.fulls[-1] - self.level)
            self.refill()

    def refill(self) -> None:
        """The server writes all that fits."""
        while self.offer(_SLICE):
            pass
        self.fulls.append(self.level)


def fill(pairs: list[Pair], gap: float) -> None:
    """Fills all rooms."""
    begins = time.monotonic()
    due = [(begins, number, pair) for number, pair in enumerate(pairs)]
    heapify(due)
    while due and due[0][0] < begins + MOST_SECONDS:
        at, number, pair = heappop(due)
        time.sleep(max(at - time.monotonic(), 0.0))
        later = pair.trickle(time.monotonic(), gap)
        if later is not None:
            heappush(due, (later, number, pair))


def follow(pairs: list[Pair], rate: float, seconds: float) -> None:
    """Lets all clients read slowly for so long."""
    for pair in pairs:
        pair.refill()
    before = time.monotonic()
    ends = before + seconds
    while before < ends:
        time.sleep(TICK_SECONDS)
        now = time.monotonic()
        for pair in pairs:
            pair.follow(rate, now - before)
        before = now


def warm(pairs: list[Pair], gap: float) -> None:
    """Sends some messages that are read at once."""
    for _ in range(WARM):
        for pair in pairs:
            pair.offer(pair.size)
        time.sleep(gap)
        for pair in pairs:
            while pair.take(_MANY):
                pass


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - that is what it is for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=SIZES)
    parser.add_argument("--gap", type=float, default=0.01, help="seconds from one message to the next")
    parser.add_argument("--receive-buffer", type=int, default=65_536, help="SO_RCVBUF of the client; 0: not set")
    parser.add_argument("--segment", type=int, default=0, help="TCP_MAXSEG of both sides; 0: that of loopback")
    parser.add_argument("--rate", type=float, default=50e3, help="bytes a second of the slow reader")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long that reads")
    given = parser.parse_args()
    pairs = [Pair(size, receive_buffer=given.receive_buffer, segment=given.segment) for size in given.sizes]
    warm(pairs, given.gap)
    fill(pairs, given.gap)
    for pair in pairs:
        pair.close_room()
    follow(pairs, given.rate, given.seconds)
    say("bytes of a message      room  of it at the server    then full   step    share")
    for pair in pairs:
        say(pair.line())


if __name__ == "__main__":
    main()
