"""A load for `accuracy`: clients that follow, that pause and that have little bandwidth, as a seed has it.

    python -m benchmarks.accuracy_load '{"port": 8000, "seconds": 20, "seed": 1}'

One process, one epoll. Prints one line of JSON.
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
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

CHANNEL = "lobby"
DEFAULTS: dict[str, Any] = {
    "port": 8000,
    "seconds": 20.0,
    "seed": 1,
    "fast": 36,
    "pausing": 24,
    "slow": 10,
    "pause_most": 4.0,
    "awake_mean": 2.0,
    "bandwidth": [40e3, 250e3],
    "rate": 120,
    "burst": 100,
    "every": 2.0,
    "size": 1000,
    "keys": 50,
    "away": [0.5, 1.5],
    "receive_buffer": 65_536,
}
TICK_SECONDS = 0.02
LATE_SECONDS = 0.2  # a generator that is later than that was disturbed
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
    b"dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: fanwise.v1\r\n\r\n"
)
PREFIX = b'{"op":"message","channel":"%s","offset":' % CHANNEL.encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame; the mask is zero."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


@dataclass(eq=False)
class Person:
    """A client, over all of its connections."""

    kind: str
    config: dict[str, Any]
    chance: random.Random
    sock: socket.socket | None = None
    buffer: bytearray = field(default_factory=bytearray)
    shaken: bool = False
    position: dict[str, Any] | None = None
    budget: float = 0.0
    rate: float = 0.0
    pauses: list[tuple[float, float]] = field(default_factory=list)
    subscribed: bool = False

    def plan(self, seconds: float) -> None:
        low, high = self.config["bandwidth"]
        if self.kind == "slow":
            self.rate = low * (high / low) ** self.chance.random()
        if self.kind == "pausing":
            at = self.chance.uniform(0, self.config["awake_mean"])
            while at < seconds:
                pause = self.chance.uniform(0, self.config["pause_most"])
                self.pauses.append((at, at + pause))
                at += pause + self.chance.expovariate(1 / self.config["awake_mean"])

    def reads(self, at: float) -> bool:
        place = bisect_right(self.pauses, (at, math.inf)) - 1
        return place < 0 or at >= self.pauses[place][1]


class Load:
    """The whole load."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.epoll = select.epoll()
        kinds = ["fast"] * config["fast"] + ["pausing"] * config["pausing"] + ["slow"] * config["slow"]
        self.people = [
            Person(kind, config, random.Random(config["seed"] * 1_000_003 + number))
            for number, kind in enumerate(kinds)
        ]
        self.by_fd: dict[int, Person] = {}
        self.returning: list[tuple[float, int]] = []
        self.closes: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.ages: list[float] = []
        self.started = math.inf
        self.latest = 0.0
        self.sent: list[float] = []

    def connect(self, person: Person) -> None:
        sock = socket.socket()
        if person.kind != "fast":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.config["receive_buffer"])
        sock.connect(("127.0.0.1", self.config["port"]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(REQUEST)
        sock.setblocking(False)
        person.sock, person.shaken, person.subscribed, person.budget = sock, False, False, 0.0
        person.buffer.clear()
        self.by_fd[sock.fileno()] = person
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def lose(self, person: Person, why: str) -> None:
        if person.sock is None:
            return
        self.by_fd.pop(person.sock.fileno(), None)
        person.sock.close()  # leaves the epoll
        person.sock = None
        self.closes[why] += 1
        heappush(self.returning, (time.monotonic() + person.chance.uniform(*self.config["away"]), id(person)))

    def read(self, person: Person, limit: int) -> int:
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
        if person.kind != "fast" or not person.subscribed:
            person.buffer += data
            self.parse(person)
        return len(data)

    def parse(self, person: Person) -> None:
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
        if opcode == 8:
            self.lose(person, str(int.from_bytes(payload[:2], "big")))
        elif opcode == 9:
            self.send(person, frame(10, payload))
        elif payload.startswith(PREFIX):
            assert person.position is not None
            end = payload.find(b",", len(PREFIX))
            person.position["offset"] = int(payload[len(PREFIX) : end])
            place = payload.find(b'"data":"', end) + 8
            self.ages.append(time.monotonic() - float(payload[place : place + 16]))
        else:
            self.told(person, json.loads(payload))

    def told(self, person: Person, told: dict[str, Any]) -> None:
        if told["op"] == "subscribed":
            person.subscribed = True
            if person.position is None or person.position["epoch"] != told["epoch"]:
                person.position = {"epoch": told["epoch"], "offset": told["offset"]}
        elif told["op"] == "gap":
            assert person.position is not None
            person.position["offset"] = told["to"]
            self.gaps[told["reason"]] += told["to"] - told["from"] + 1

    def send(self, person: Person, data: bytes) -> None:
        try:
            assert person.sock is not None
            person.sock.send(data)
        except OSError:
            pass

    def publish(self, sock: socket.socket, number: int) -> None:
        stamp = f"{time.monotonic():.6f}".ljust(16, "0")[:16]
        data = stamp + "x" * (self.config["size"] - 16)
        key = f"k{number % self.config['keys']}"
        text = json.dumps({"op": "publish", "channel": CHANNEL, "data": data, "key": key})
        sock.sendall(frame(1, text.encode()))

    def run(self) -> dict[str, Any]:
        config = self.config
        for person in self.people:
            person.plan(config["seconds"])
            self.connect(person)
        ends = time.monotonic() + 30
        while not all(person.subscribed for person in self.people):
            if time.monotonic() > ends:
                raise TimeoutError("clients did not come")
            self.wait(0.05, at=-1.0)
        publisher = socket.create_connection(("127.0.0.1", config["port"]))
        publisher.sendall(REQUEST)
        publisher.recv(4096)
        times = sorted(
            [number / config["rate"] for number in range(int(config["seconds"] * config["rate"]))]
            + [number * config["every"] for number in range(int(config["seconds"] / config["every"]))] * config["burst"]
        )
        self.started = start = time.monotonic()
        cpu, ticked, done = time.process_time(), start, 0
        while (now := time.monotonic()) < start + config["seconds"]:
            while done < len(times) and times[done] <= now - start:
                self.publish(publisher, done)
                done += 1
            self.latest = max(self.latest, now - ticked - TICK_SECONDS)
            ticked = now
            self.tick(now - start)
            next_due = start + times[done] if done < len(times) else now + TICK_SECONDS
            self.wait(max(0.0, min(next_due - time.monotonic(), TICK_SECONDS)), at=now - start)
        return {
            "published": done,
            "closes": dict(self.closes),
            "gaps": dict(self.gaps),
            "age_p50": quantile(self.ages, 0.5),
            "age_p99": quantile(self.ages, 0.99),
            "late_seconds": self.latest,
            "cpu_seconds": time.process_time() - cpu,
            "ended_at": time.monotonic(),
        }

    def tick(self, at: float) -> None:
        """What does not wait for bytes: bandwidths, the ends of pauses, returns."""
        now = time.monotonic()
        while self.returning and self.returning[0][0] <= now:
            number = heappop(self.returning)[1]
            self.connect(next(person for person in self.people if id(person) == number))
        for person in self.people:
            if person.sock is None:
                continue
            if person.kind == "slow":
                person.budget = min(person.budget + person.rate * TICK_SECONDS, person.rate * TICK_SECONDS * 3)
                while (
                    person.budget >= 1 and person.sock is not None and (taken := self.read(person, int(person.budget)))
                ):
                    person.budget -= taken
            elif person.kind == "pausing":
                wanted = select.EPOLLIN if person.reads(at) else 0
                self.epoll.modify(person.sock.fileno(), wanted)

    def wait(self, seconds: float, *, at: float) -> None:
        for fd, _ in self.epoll.poll(seconds):
            person = self.by_fd.get(fd)
            if person is None or person.sock is None:
                continue
            if person.kind == "slow" and person.subscribed:
                self.epoll.modify(fd, 0)  # read in ticks from now on
            elif person.kind != "pausing" or not person.subscribed or at < 0 or person.reads(at):
                self.read(person, 1 << 18)


def quantile(values: list[float], share: float) -> float | None:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else None


if __name__ == "__main__":
    print(json.dumps(Load({**DEFAULTS, **json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}")}).run()))  # noqa: T201
