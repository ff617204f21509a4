"""Presence in a storm: 10,000 users watch one channel while others come and go, 1,000 times a second.

    python -m benchmarks.presence [--watchers N] [--rate N] [--seconds S] [--info-bytes N] [--loop uvloop|asyncio]

A server runs in this process, and the users in another one. In the server's loop a callback runs in each turn and reads
the thread's CPU time: the largest difference is the longest turn, whatever else keeps the machine busy. Each watcher
subscribes with `"presence": true`; the others subscribe and unsubscribe in turn, paced over the storm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import select
import socket
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from fanwise import Broadcaster, User
from fanwise.protocol import FanwiseHttpProtocol, FanwiseProtocol
from fanwise.routes import Access
from fanwise.transport.collector import collect_young, tune_gc

from .harness import SPARE, allow_descriptors

LIMIT_SECONDS = 0.005
_HOST = "127.0.0.1"
_CHANNEL = "crowd"
_OTHERS = 1_000  # users that come and go
_AT_ONCE = 64  # subscriptions between two looks at what has come
_QUIET_SECONDS = 1.0
_UNANSWERED = 16  # operations under way: a server that has to wait for a processor finds no backlog
_MASK = b"\0\0\0\0"
_SHORT = 126


class Options(NamedTuple):
    """What is measured."""

    watchers: int
    rate: int
    seconds: float
    info_bytes: int
    loop: str


class Storm(NamedTuple):
    """What the users have seen: operations that were sent, bytes that were read, and messages of presence by kind."""

    operations: int
    read_bytes: int
    told: dict[str, int]


def frame(**op: object) -> bytes:
    """A masked text frame (RFC 6455 section 5.2), whose mask is zero."""
    data = json.dumps(op).encode()
    if len(data) < _SHORT:
        return bytes((0x81, 0x80 | len(data))) + _MASK + data
    return bytes((0x81, 0x80 | _SHORT)) + len(data).to_bytes(2) + _MASK + data


def head(user: str) -> bytes:
    return (
        f"GET /ws HTTP/1.1\r\nHost: {_HOST}\r\nX-User: {user}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: fanwise.v1\r\n\r\n"
    ).encode()


class Crowd:
    """The users' sockets, in a process of their own."""

    def __init__(self, port: int, *, watchers: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.read_bytes = 0
        self.told = dict.fromkeys(("subscribed", "unsubscribed", "join", "leave", "presence_gap"), 0)
        self.watchers = [self._come(f"watcher-{number}") for number in range(watchers)]
        self.others = [self._come(f"other-{number}") for number in range(_OTHERS)]

    def _come(self, user: str) -> socket.socket:
        sock = socket.create_connection((_HOST, self._port))
        sock.sendall(head(user))
        answer = b""
        while b'"welcome"' not in answer:
            answer += sock.recv(4096)
        sock.setblocking(False)
        self.sockets[sock.fileno()] = sock
        self._poll.register(sock, select.EPOLLIN)
        return sock

    @property
    def answered(self) -> int:
        """Operations that were answered."""
        return self.told["subscribed"] + self.told["unsubscribed"]

    def read(self, seconds: float) -> None:
        """Reads what comes, for at most that long."""
        for number, _ in self._poll.poll(seconds, 512):
            data = self.sockets[number].recv(262_144)
            self.read_bytes += len(data)
            for op in self.told:
                self.told[op] += data.count(b'{"op":"%b"' % op.encode())

    def read_until(self, enough: Callable[[dict[str, int]], bool]) -> None:
        """Reads until enough was told."""
        while not enough(self.told):
            self.read(0.1)

    def read_until_quiet(self) -> None:
        """Reads until nothing has come for a second."""
        before, since = -1, time.monotonic()
        while time.monotonic() < since + _QUIET_SECONDS:
            self.read(0.1)
            if self.read_bytes != before:
                before, since = self.read_bytes, time.monotonic()


def storm(port: int, options: Options, pipe: Connection) -> None:
    """Connects the users, waits for the sign, and has the others come and go; sends a `Storm`."""
    crowd = Crowd(port, watchers=options.watchers)
    subscribe = frame(op="subscribe", channel=_CHANNEL, presence=True)
    for number, sock in enumerate(crowd.watchers):
        sock.sendall(subscribe)
        if number % _AT_ONCE == 0:
            crowd.read(0.0)
    crowd.read_until(lambda told: told["subscribed"] >= options.watchers)
    crowd.read_until_quiet()
    pipe.send(None)
    pipe.recv()
    crowd.told, crowd.read_bytes = dict.fromkeys(crowd.told, 0), 0
    ops = (frame(op="subscribe", channel=_CHANNEL), frame(op="unsubscribe", channel=_CHANNEL))
    began, sent, due = time.monotonic(), 0, 0
    while (now := time.monotonic()) < began + options.seconds:
        due = int((now - began) * options.rate)
        while sent < due and sent - crowd.answered < _UNANSWERED:
            crowd.others[sent % _OTHERS].sendall(ops[sent // _OTHERS % 2])
            sent += 1
        crowd.read(0.001)
    crowd.read_until(lambda _: crowd.answered >= sent)
    crowd.read_until_quiet()
    pipe.send(Storm(sent, crowd.read_bytes, crowd.told))
    for sock in crowd.sockets.values():
        sock.close()


class Turns:
    """Measures the turns of an event loop: a callback in each of them reads the CPU time of the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._before = time.thread_time()
        self._running = True
        self.turns = array("d")  # a list would be looked through by collections: hundreds of thousands of objects
        loop.call_soon(self._look)

    def _look(self) -> None:
        now = time.thread_time()
        self.turns.append(now - self._before)
        self._before = now
        if self._running:
            self._loop.call_soon(self._look)

    def stop(self) -> list[float]:
        """Returns the seconds of each turn, ascending."""
        self._running = False
        return sorted(self.turns)


def application(options: Options) -> FastAPI:
    """The ready-made routes; users say who they are."""
    info = "x" * options.info_bytes

    def identify(connection: HTTPConnection) -> User:
        return User(connection.headers["x-user"], {"name": info})

    broadcaster = Broadcaster(access=Access(identify=identify))
    app = FastAPI(lifespan=broadcaster.lifespan)
    app.include_router(broadcaster.router)
    return app


@contextmanager
def crowd_process(port: int, options: Options) -> Iterator[Connection]:
    """The users, in a process of their own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=storm, args=(port, options, there))
    process.start()
    try:
        yield here
    finally:
        process.terminate()
        process.join()


class _Server(uvicorn.Server):
    """uvicorn's server, whose collections are short as those of `fanwise serve` are."""

    async def on_tick(self, counter: int) -> bool:
        collect_young()
        return await super().on_tick(counter)


async def measure(options: Options) -> tuple[list[float], Storm]:
    """Returns the seconds of each turn in the storm, ascending, and what the users have seen."""
    listener = socket.create_server((_HOST, 0), backlog=1024)
    config = uvicorn.Config(
        application(options),
        ws=FanwiseProtocol,
        http=FanwiseHttpProtocol,
        log_config=None,
        ws_ping_interval=None,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    with crowd_process(listener.getsockname()[1], options) as pipe:
        await asyncio.to_thread(pipe.recv)
        turns = Turns(asyncio.get_running_loop())
        pipe.send(None)
        seen: Storm = await asyncio.to_thread(pipe.recv)
        found = turns.stop()
        server.should_exit = True
        await serving
    return found, seen


def parse() -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1_000, help="users that come or go per second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--info-bytes", type=int, default=20)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    return Options(**vars(parser.parse_args()))


def main() -> int:
    """Measures, and returns 1 if a turn was too long."""
    options = parse()
    allow_descriptors(options.watchers + _OTHERS + SPARE)
    tune_gc()
    if options.loop == "uvloop":
        turns, seen = uvloop.run(measure(options))
    else:
        turns, seen = asyncio.run(measure(options))
    longest, middle = turns[-1], turns[len(turns) // 2]
    rate = seen.operations / options.seconds
    sys.stdout.write(f"{options.watchers} watchers, {rate:.0f} came or went per second\n")
    sys.stdout.write(
        f"longest turn {longest * 1e3:.2f} ms of CPU, median {middle * 1e3:.3f} ms, of {len(turns)} turns\n"
    )
    per_watcher = {op: round(count / options.watchers, 1) for op, count in seen.told.items()}
    sys.stdout.write(f"each watcher heard {per_watcher}; all read {seen.read_bytes / 1e6:.1f} MB\n")
    return int(longest > LIMIT_SECONDS)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
