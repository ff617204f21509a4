"""A load for `accuracy`: in each cell the same clients, which follow, pause or have little bandwidth, as a seed has it.

    python -m benchmarks.accuracy_load '{"port": 8000, "seconds": 60, "seed": 1, "cells": {"latest-64": {}}}'

One process, one epoll. Prints one line of JSON: {cell: what its clients saw}.
"""

from __future__ import annotations

import json
import math
import random
import select
import socket
import struct
import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

from fanwise.tools.remote import Remote

CHANNEL: Final = "lobby"
DEFAULTS: Final[dict[str, Any]] = {
    "port": 8000,
    "seconds": 60.0,
    "seed": 1,
    "fast": 12,
    "pausing": 24,
    "slow": 10,
    "pause_most": 8.0,
    "awake_mean": 3.0,
    "bandwidth": [20e3, 125e3],
    "rate": 60,
    "burst": 50,
    "every": 2.0,
    "size": 1000,
    "keys": 50,
    "away": [0.5, 1.5],
    "receive_buffer": 65_536,
}
TICK_SECONDS: Final = 0.02
OVER_SECONDS: Final = 0.2  # after the end the load goes on, until the server has looked at its counters
REQUEST: Final = (
    "GET /%s/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
    "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: fanwise.v1\r\n\r\n"
)
PREFIX: Final = b'{"op":"message","channel":"%s","offset":' % CHANNEL.encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """Returns a masked frame; the mask is zero."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


@dataclass(eq=False)
class Habits:
    """How a person reads: the same in all cells, whatever becomes of its connections.

    Attributes:
        kind: "fast", "pausing" or "slow".
        rate: Bytes a second of a slow one.
        pauses: (begin, end) of the times in which a pausing one reads nothing, in seconds from the start.
    """

    kind: str
    rate: float = 0.0
    pauses: list[tuple[float, float]] = field(default_factory=list)

    def reads(self, at: float) -> bool:
        """Returns whether a pausing person reads."""
        place = bisect_right(self.pauses, (at, math.inf)) - 1
        return place < 0 or at >= self.pauses[place][1]


def habits_of(config: dict[str, Any]) -> list[Habits]:
    """Returns the habits of a cell's people, as a seed has them."""
    kinds = ["fast"] * config["fast"] + ["pausing"] * config["pausing"] + ["slow"] * config["slow"]
    low, high = config["bandwidth"]
    made = []
    for number, kind in enumerate(kinds):
        chance, habits = random.Random(config["seed"] * 1_000_003 + number), Habits(kind)
        if kind == "slow":
            habits.rate = low * (high / low) ** chance.random()
        at = chance.uniform(0, config["awake_mean"]) if kind == "pausing" else math.inf
        while at < config["seconds"]:
            pause = chance.uniform(0, config["pause_most"])
            habits.pauses.append((at, at + pause))
            at += pause + chance.expovariate(1 / config["awake_mean"])
        made.append(habits)
    return made


@dataclass(eq=False)
class Cell:
    """What the people of a cell saw."""

    name: str
    closes: list[tuple[float, int, str]] = field(default_factory=list)  # (when it was noticed, person, why)
    gaps: Counter[str] = field(default_factory=Counter)
    ages: list[float] = field(default_factory=list)


@dataclass(eq=False)
class Person:
    """A client, over all of its connections."""

    number: int
    cell: Cell
    habits: Habits
    chance: random.Random
    sock: socket.socket | None = None
    buffer: bytearray = field(default_factory=bytearray)
    shaken: bool = False
    subscribed: bool = False
    heard: bool = False  # whether the epoll looks at its socket
    position: dict[str, Any] | None = None
    budget: float = 0.0
    refilled_at: float = 0.0


class Load:
    """The whole load."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.epoll = select.epoll()
        self.cells = [Cell(name) for name in config["cells"]]
        self.people = [
            Person(number, cell, habits, random.Random(config["seed"] * 7_000_003 + number))
            for cell in self.cells
            for number, habits in enumerate(habits_of(config))
        ]
        self.by_fd: dict[int, Person] = {}
        self.returning: list[tuple[float, int, Person]] = []
        self.returns = count()
        self.late_seconds = 0.0
        self.started = math.inf

    def run(self) -> dict[str, Any]:
        """Plays the load."""
        for person in self.people:
            self.connect(person)
        ends = time.monotonic() + 60
        while not all(person.subscribed for person in self.people):
            if time.monotonic() > ends:
                raise TimeoutError("clients did not come")
            self.wait(0.05)
        self.started = start = float(Remote(f"http://127.0.0.1:{self.config['port']}").post("/start", b""))
        cpu, ticked = time.process_time(), time.monotonic()
        while (now := time.monotonic()) < start + self.config["seconds"] + OVER_SECONDS:
            self.late_seconds = max(self.late_seconds, now - ticked - TICK_SECONDS)
            ticked = now
            self.tick(now - start)
            rest = ticked + TICK_SECONDS
            while (now := time.monotonic()) < rest:
                self.wait(rest - now)
        return {
            "cells": dict(self.seen()),
            "late_seconds": self.late_seconds,
            "cpu_share": (time.process_time() - cpu) / self.config["seconds"],
        }

    def seen(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (name, what was seen) of each cell."""
        for cell in self.cells:
            ages = {"age_p50": quantile(cell.ages, 0.5), "age_p99": quantile(cell.ages, 0.99)}
            yield cell.name, {"closes": cell.closes, "gaps": dict(cell.gaps), **ages}

    # Connections.

    def connect(self, person: Person) -> None:
        """Opens a connection, in which the person goes on behind its position."""
        sock = socket.socket()
        if person.habits.kind != "fast":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.config["receive_buffer"])
        sock.connect(("127.0.0.1", self.config["port"]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall((REQUEST % person.cell.name).encode())
        sock.setblocking(False)
        person.sock, person.shaken, person.subscribed = sock, False, False
        person.buffer.clear()
        person.heard = False
        self.hear(person, True)

    def hear(self, person: Person, wanted: bool) -> None:
        """Has the epoll look at a person's socket, or not: one that was reset is readable all the time."""
        if person.sock is None or person.heard == wanted:
            return
        person.heard, fd = wanted, person.sock.fileno()
        if wanted:
            self.by_fd[fd] = person
            self.epoll.register(fd, select.EPOLLIN)
        else:
            del self.by_fd[fd]
            self.epoll.unregister(fd)

    def lose(self, person: Person, why: str) -> None:
        """The connection has ended; the person comes back after a while."""
        if person.sock is None:
            return
        self.hear(person, False)
        person.sock.close()
        person.sock = None
        now = time.monotonic()
        person.cell.closes.append((now - self.started, person.number, why))
        back = now + person.chance.uniform(*self.config["away"])
        heappush(self.returning, (back, next(self.returns), person))

    # Time.

    def tick(self, at: float) -> None:
        """Does what does not wait for bytes: bandwidths, begins and ends of pauses, returns."""
        now = time.monotonic()
        while self.returning and self.returning[0][0] <= now:
            self.connect(heappop(self.returning)[2])
        for person in self.people:
            if person.sock is None:
                continue
            if person.habits.kind == "slow" and person.subscribed:
                self.trickle(person, now)
            elif person.habits.kind == "pausing":
                self.hear(person, not person.subscribed or person.habits.reads(at))

    def trickle(self, person: Person, now: float) -> None:
        """Lets a slow person read what its bandwidth has come to since the tick before, also in a late one."""
        self.hear(person, False)
        rate = person.habits.rate
        seconds = min(now - person.refilled_at, 1.0)
        person.budget, person.refilled_at = min(person.budget, 3 * rate * TICK_SECONDS) + rate * seconds, now
        while person.budget >= 1 and person.sock is not None and (taken := self.read(person, int(person.budget))):
            person.budget -= taken

    def wait(self, seconds: float) -> None:
        """Reads what comes within so many seconds."""
        for fd, _ in self.epoll.poll(seconds):
            person = self.by_fd.get(fd)
            if person is not None:
                self.read(person, 4096 if person.habits.kind == "slow" else 1 << 18)

    # Bytes.

    def read(self, person: Person, limit: int) -> int:
        """Reads once; returns how many bytes came."""
        assert person.sock is not None
        try:
            data = person.sock.recv(limit)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.lose(person, "lost")
            return 0
        if person.habits.kind != "fast" or not person.subscribed:
            person.buffer += data
            self.parse(person)
        return len(data)

    def parse(self, person: Person) -> None:
        """Takes what has come whole out of the buffer."""
        buffer, at = person.buffer, 0
        if not person.shaken:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            at, person.shaken = end + 4, True
            since = {} if person.position is None else {"since": person.position}
            self.send(person, frame(1, json.dumps({"op": "subscribe", "channel": CHANNEL, **since}).encode()))
        size = len(buffer)
        while at + 4 <= size:
            length, head = buffer[at + 1], 2
            if length == 126:
                length, head = buffer[at + 2] << 8 | buffer[at + 3], 4
            if at + head + length > size:
                break
            self.message(person, buffer[at] & 15, bytes(buffer[at + head : at + head + length]))
            if person.sock is None:
                return
            at += head + length
        del buffer[:at]

    def message(self, person: Person, opcode: int, payload: bytes) -> None:
        """Notes a frame."""
        if opcode == 8:
            self.lose(person, str(int.from_bytes(payload[:2], "big")))
        elif opcode == 9:
            self.send(person, frame(10, payload))
        elif payload.startswith(PREFIX):
            assert person.position is not None
            end = payload.find(b",", len(PREFIX))
            person.position["offset"] = int(payload[len(PREFIX) : end])
            place = payload.find(b'"data":"', end) + 8
            person.cell.ages.append(time.monotonic() - float(payload[place : place + 16]))
        else:
            self.told(person, json.loads(payload))

    def told(self, person: Person, told: dict[str, Any]) -> None:
        """Notes an operation of the server."""
        if told["op"] == "subscribed":
            person.subscribed, person.budget, person.refilled_at = True, 0.0, time.monotonic()
            if person.habits.kind == "slow":
                self.hear(person, False)  # or it would read all that comes at once, until the next tick
            if person.position is None or person.position["epoch"] != told["epoch"]:
                person.position = {"epoch": told["epoch"], "offset": told["offset"]}
        elif told["op"] == "gap":
            assert person.position is not None
            person.position["offset"] = told["to"]
            person.cell.gaps[told["reason"]] += told["to"] - told["from"] + 1

    def send(self, person: Person, data: bytes) -> None:
        """Sends a small frame."""
        assert person.sock is not None
        try:
            person.sock.send(data)
        except OSError:
            return


def quantile(values: list[float], share: float) -> float | None:
    """Returns the value that this share of the values is at most."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else None


if __name__ == "__main__":
    print(json.dumps(Load({**DEFAULTS, **json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}")}).run()))  # noqa: T201
