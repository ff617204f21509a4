"""Honest clients that only listen; a process of its own, which shares nothing with attackers nor with the probe.

    python -m tests.system.hostile.crowd PORT [--clients N] [--messages-per-second R] [--key KEY]

A number is published to all of them at a fixed pace. Each line of standard input ends a period, and is answered with
a line of JSON: {"lost": messages that clients were not sent, "closed": clients that were closed}.

Frames are read without a library: 500 clients take a hundredth of a CPU so, and they answer pings as libraries do.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from .attackers import PING, PONG, TEXT, frame, handshake

_GIVE_UP_SECONDS: Final = 30.0  # after which a message is lost
_CONNECT_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.1  # after which a client that was closed comes again
_MAX_SECONDS: Final = 7_200.0  # the process ends then
_CLOSE: Final = 0x8
_MESSAGE: Final = b"Message: "


class Client:
    """A WebSocket of the plain dialect, reading what is there and never waiting."""

    def __init__(self, port: int, head: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), _CONNECT_SECONDS)
        self.sock.sendall(head)
        self.sock.setblocking(False)
        self.open = False  # whether the handshake was answered
        self.next = 0  # the number expected
        self._buffer = b""

    def read(self, number: int) -> int:
        """Reads all that has come, and returns how many numbers are missing; ConnectionError at the end.

        `number` is the next to be published: one that has just come expects it.
        """
        data = self.sock.recv(65_536)
        if not data:
            raise ConnectionResetError("closed")
        self._buffer += data
        if not self.open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return 0
            if b" 101 " not in head:
                raise ConnectionRefusedError(head.decode())
            self.open, self.next, self._buffer = True, number, rest
        return sum(self._take(opcode, payload) for opcode, payload in self._frames())

    def _take(self, opcode: int, payload: bytes) -> int:
        if opcode == _CLOSE:
            raise ConnectionResetError("closed")
        if opcode == PING:
            self.sock.send(frame(PONG, payload))
        if opcode != TEXT:
            return 0
        number = int(payload.removeprefix(_MESSAGE))
        missing, self.next = max(0, number - self.next), number + 1
        return missing

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """All whole frames, unmasked and final as servers of this kind send them: (opcode, payload)."""
        while len(self._buffer) >= 2 and len(self._buffer) >= (end := 2 + self._buffer[1]):
            found, self._buffer = self._buffer[:end], self._buffer[end:]
            yield found[0] & 0xF, found[2:]


class Crowd:
    """All clients and the one that publishes to them."""

    def __init__(self, port: int, *, clients: int, per_second: float, key: str) -> None:
        headers = [f"Authorization: Bearer {key}"] if key else []
        self._head = handshake(*headers, path="/ws?channel=crowd")
        self._port = port
        self._size = clients
        self._pace_seconds = 1 / per_second if per_second else _MAX_SECONDS
        self._clients: dict[int, Client] = {}
        self._epoll = select.epoll()
        self._number = self.lost = self.closed = 0

    def start(self) -> None:
        """Returns when all clients listen."""
        self._publisher = self._connect()
        self._fill()
        while not all(client.open for client in self._clients.values()):
            self._work(_CONNECT_SECONDS)
        self._due = time.monotonic()

    def run(self) -> None:
        """Publishes and reads, and answers each line of standard input."""
        self._epoll.register(sys.stdin, select.EPOLLIN)
        end = time.monotonic() + _MAX_SECONDS
        while (now := time.monotonic()) < end:
            self._publish(now)
            if self._work(min(_AGAIN_SECONDS, max(0.0, self._due - now))):
                if not sys.stdin.readline():
                    return
                self._settle()
                tell(json.dumps({"lost": self.lost, "closed": self.closed}))
                self.lost = self.closed = 0

    def _publish(self, now: float) -> None:
        if now >= self._due:
            self._publisher.sock.sendall(frame(TEXT, b"%d" % self._number))
            self._number += 1
            self._due += self._pace_seconds

    def _settle(self) -> None:
        """Reads until all have what was published until now; what is missing after a time is lost."""
        number, end = self._number, time.monotonic() + _GIVE_UP_SECONDS
        while (behind := self._behind(number)) and time.monotonic() < end:
            self._publish(time.monotonic())
            self._work(0.01, ignored=sys.stdin.fileno())
        for client in behind:
            self.lost += number - client.next
            client.next = number

    def _behind(self, number: int) -> list[Client]:
        return [one for one in self._clients.values() if one is not self._publisher and one.next < number]

    def _work(self, seconds: float, *, ignored: int = -1) -> bool:
        """Reads what comes within so many seconds; returns whether a period is to be ended."""
        asked = False
        for fd, _ in self._epoll.poll(seconds):
            if fd in self._clients:
                self._read(fd)
            else:
                asked = fd != ignored
        if len(self._clients) <= self._size:
            self._fill()
        return asked

    def _read(self, fd: int) -> None:
        client = self._clients[fd]
        try:
            missing = client.read(self._number)
        except OSError:
            self._epoll.unregister(fd)
            self._clients.pop(fd).sock.close()
            self.closed += 1
            return
        if client is not self._publisher:
            self.lost += missing

    def _fill(self) -> None:
        """Replaces clients that were closed."""
        while len(self._clients) <= self._size:
            try:
                client = self._connect()
            except OSError:
                return
            if self._publisher.sock.fileno() == -1:
                self._publisher = client

    def _connect(self) -> Client:
        client = Client(self._port, self._head)
        self._clients[client.sock.fileno()] = client
        self._epoll.register(client.sock, select.EPOLLIN)
        return client


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(options: Any) -> None:
    crowd = Crowd(options.port, clients=options.clients, per_second=options.messages_per_second, key=options.key)
    crowd.start()
    tell("ready")
    crowd.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--clients", type=int, default=0)
    parser.add_argument("--messages-per-second", type=float, default=0.0)
    parser.add_argument("--key", default="")
    run(parser.parse_args())
