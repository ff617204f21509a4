"""Storms: 10,000 clients connect at once, and then leave at once, while others are served.

    python -m benchmarks.storm [--clients N] [--loop uvloop|asyncio] [--abrupt]

A server of its own runs on the first CPU that the process may use, the crowd and the watcher in two processes on the
other. The watcher is a client that publishes a message every 5 ms and waits for it: its round trips show for how long
the storm has held the server's loop. `--abrupt`: the crowd leaves by resets in place of ends of stream.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

_HOST = "127.0.0.1"
_PACE_SECONDS = 0.005
_CONNECT_SECONDS = 60.0
_QUIET_SECONDS = 1.0
_MASK = b"\0\0\0\0"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER (socket(7)): close sends a reset


def head(channel: str) -> bytes:
    return (
        f"GET /ws?channel={channel} HTTP/1.1\r\nHost: {_HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def watch(port: int, pipe: Connection) -> None:
    """Measures round trips until told to stop; sends (when, seconds) of each."""
    sock = socket.create_connection((_HOST, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(head("watched"))
    while b"\r\n\r\n" not in sock.recv(4096):
        pass
    pipe.send(True)
    trips: list[tuple[float, float]] = []
    while not pipe.poll(0):
        began = time.monotonic()
        sock.sendall(b"\x81\x84" + _MASK + b"ping")
        sock.recv(4096)
        trips.append((began, time.monotonic() - began))
        time.sleep(max(0.0, began + _PACE_SECONDS - time.monotonic()))
    pipe.send(trips)


def come(port: int, clients: int) -> list[socket.socket]:
    """Connects all at once; returns when each was answered 101."""
    poll = select.epoll()
    waiting: dict[int, socket.socket] = {}
    for _ in range(clients):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((_HOST, port))
        waiting[sock.fileno()] = sock
        poll.register(sock, select.EPOLLOUT | select.EPOLLET)
    request = head("crowd")
    came: list[socket.socket] = []
    end = time.monotonic() + _CONNECT_SECONDS
    while waiting and time.monotonic() < end:
        for number, event in poll.poll(1.0, 1024):
            if event & select.EPOLLIN:
                try:
                    answer = waiting[number].recv(4096)
                except OSError as error:
                    raise SystemExit(f"one was refused when {len(came)} were in: {error}") from None
                if b" 101 " not in answer:
                    raise SystemExit(f"a client was refused: {answer[:200]!r}")
                poll.unregister(number)
                came.append(waiting.pop(number))
            elif event & select.EPOLLOUT:
                waiting[number].send(request)
                poll.modify(number, select.EPOLLIN)
    if waiting:
        raise SystemExit(f"{len(waiting)} clients are not in after {_CONNECT_SECONDS:g} s")
    return came


@contextmanager
def server(loop: str, cpu: int) -> Iterator[int]:
    """A server on one CPU; the port."""
    with socket.create_server((_HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "fanwise", "serve", "--port", str(port), "--loop", loop]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        os.sched_setaffinity(process.pid, {cpu})
        try:
            while True:
                try:
                    socket.create_connection((_HOST, port)).close()
                    break
                except ConnectionRefusedError:
                    if process.poll() is not None:
                        log.seek(0)
                        raise SystemExit(log.read().decode()) from None
                    time.sleep(0.05)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def show(name: str, trips: list[tuple[float, float]], began: float, ended: float) -> None:
    taken = sorted(1_000 * seconds for at, seconds in trips if began - 0.05 <= at + seconds and at <= ended)
    if taken:
        p99 = taken[int(0.99 * (len(taken) - 1))]
        spread = f"p50 {taken[len(taken) // 2]:.1f}, p99 {p99:.1f}, max {taken[-1]:.1f} ms"
        sys.stdout.write(f"{name:10} {len(taken):5} round trips: {spread}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--abrupt", action="store_true")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    first, *others = sorted(os.sched_getaffinity(0))
    with server(options.loop, first) as port:
        if others:
            os.sched_setaffinity(0, others)
        here, there = get_context("fork").Pipe()
        watcher = get_context("fork").Process(target=watch, args=(port, there))
        watcher.start()
        here.recv()
        time.sleep(_QUIET_SECONDS)
        began = time.monotonic()
        crowd = come(port, options.clients)
        came = time.monotonic()
        time.sleep(_QUIET_SECONDS)
        leaving = time.monotonic()
        for sock in crowd:
            if options.abrupt:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()
        time.sleep(_QUIET_SECONDS)
        here.send(True)
        trips = here.recv()
        watcher.join()
    sys.stdout.write(f"{options.loop}: {options.clients} clients were in within {came - began:.2f} s\n")
    show("before", trips, began - _QUIET_SECONDS, began - 0.06)
    show("connecting", trips, began, came)
    show("leaving", trips, leaving, leaving + _QUIET_SECONDS)


if __name__ == "__main__":
    main()
