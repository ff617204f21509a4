"""Two honest clients that measure a server while others attack it, and one that asks `/healthz`.

    python -m tests.system.hostile.probe PORT PID [--key KEY] [--echo-seconds S]

A process of its own, which shares nothing with the attackers nor with the other honest clients (`crowd`): it is hardly
ever busy, and what delays its messages is the server. Each line of its standard input ends a period, and is answered
with a line of JSON: the fields of `Measured`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_to
from websockets.exceptions import ConnectionClosed

ECHO_SECONDS = 0.01  # between two messages of the pair, whether or not those before have arrived
_HEALTHZ_SECONDS = 0.1
_GIVE_UP_SECONDS = 30.0  # after which a message is lost, and a probe has failed
_MAX_SECONDS = 7_200.0  # the process ends then
_MESSAGE = "Message: "


class Measured(NamedTuple):
    """What honest clients have noticed in a period, and what the server took for it."""

    seconds: float
    echo_ms: list[float]  # ascending; of each message, from when it was due until it was received
    echo_cpu_ms: list[float]  # ascending; CPU time of the server meanwhile: hardly more if the machine is busy
    healthz_ms: float  # the slowest
    healthz_failed: int
    lost: int  # messages that honest clients were not sent
    closed: int  # honest clients that were closed
    rss_bytes: int  # at the beginning
    rss_peak_bytes: int
    rss_end_bytes: int
    cpu_seconds: float
    descriptors: int

    @property
    def p99_ms(self) -> float:
        return at(self.echo_ms, 0.99)

    @property
    def p99_cpu_ms(self) -> float:
        return at(self.echo_cpu_ms, 0.99)


class Process:
    """What the kernel knows of a process (proc(5))."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}")

    def status(self, name: str) -> int:
        """A size in bytes, of VmRSS or VmHWM, its highest since `begin`."""
        for line in (self._path / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name}")

    def begin(self) -> None:
        (self._path / "clear_refs").write_text("5")

    @property
    def cpu_seconds(self) -> float:
        fields = (self._path / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def run_milliseconds(self) -> float:
        """CPU time of its first thread, in nanoseconds' resolution."""
        return int((self._path / "schedstat").read_text().split()[0]) / 1e6

    @property
    def descriptors(self) -> int:
        return len(list((self._path / "fd").iterdir()))


def connect(port: int, channel: str, key: str) -> connect_to:
    """A client of the plain dialect, as libraries make it: it answers pings and sends none."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"ws://127.0.0.1:{port}/ws?channel={channel}"
    return connect_to(url, compression=None, proxy=None, ping_interval=None, additional_headers=headers)


class Pair:
    """Two clients: what one sends at a fixed pace, the other receives. A late answer delays no later message."""

    def __init__(self, connect: Callable[[], connect_to], process: Process, *, seconds: float) -> None:
        self._connect = connect
        self._process = process
        self._seconds = seconds
        self._waiting: dict[str, tuple[float, float]] = {}  # {message: when it was due, the server's CPU time then}
        self.milliseconds: list[float] = []
        self.cpu_milliseconds: list[float] = []
        self.closed = 0

    async def run(self) -> None:
        while True:
            async with self._connect() as sender, self._connect() as receiver:
                tasks = {asyncio.create_task(self._send(sender)), asyncio.create_task(self._receive(receiver))}
                tasks.add(asyncio.create_task(drop(sender)))
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                self.closed += 1

    async def _send(self, client: ClientConnection) -> None:
        due, number = time.monotonic(), 0
        while True:
            text = f"{number} of {due}"
            self._waiting[_MESSAGE + text] = due, self._process.run_milliseconds
            try:
                await client.send(text)
            except ConnectionClosed:
                return
            number += 1
            due += self._seconds
            await asyncio.sleep(due - time.monotonic())

    async def _receive(self, client: ClientConnection) -> None:
        async for message in client:
            if str(message) in self._waiting:
                due, run_milliseconds = self._waiting.pop(str(message))
                self.milliseconds.append(round((time.monotonic() - due) * 1000, 2))
                self.cpu_milliseconds.append(round(self._process.run_milliseconds - run_milliseconds, 2))

    async def settle(self) -> int:
        """Returns how many of the messages sent until now were lost."""
        sent = set(self._waiting)
        end = time.monotonic() + _GIVE_UP_SECONDS
        while sent & self._waiting.keys() and time.monotonic() < end:  # noqa: ASYNC110 - no event for a set
            await asyncio.sleep(ECHO_SECONDS)
        lost = sent & self._waiting.keys()
        for message in lost:
            del self._waiting[message]
        return len(lost)


class Healthz:
    """Asks `GET /healthz` again and again, on connections of their own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.slowest_ms = 0.0
        self.failed = 0

    async def run(self) -> None:
        while True:
            start = time.monotonic()
            try:
                async with asyncio.timeout(_GIVE_UP_SECONDS):
                    answered = await self._ask()
            except OSError:  # TimeoutError is one
                answered = False
            self.failed += not answered
            self.slowest_ms = max(self.slowest_ms, (time.monotonic() - start) * 1000)
            await asyncio.sleep(_HEALTHZ_SECONDS)

    async def _ask(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return (await reader.read()).startswith(b"HTTP/1.1 200")
        finally:
            writer.close()


class Probe:
    """The pair, the one that asks, and the periods."""

    def __init__(self, port: int, pid: int, *, key: str, echo_seconds: float) -> None:
        self._process = Process(pid)
        self._pair = Pair(partial(connect, port, "pair", key), self._process, seconds=echo_seconds)
        self._healthz = Healthz(port)
        self._tasks: list[asyncio.Task[None]] = []
        self._begin()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._pair.run()), asyncio.create_task(self._healthz.run())]

    def _begin(self) -> None:
        self._started = time.monotonic()
        self._pair.milliseconds.clear()
        self._pair.cpu_milliseconds.clear()
        self._pair.closed = self._healthz.failed = 0
        self._healthz.slowest_ms = 0.0
        self._process.begin()
        self._rss_bytes = self._process.status("VmRSS")
        self._cpu_seconds = self._process.cpu_seconds

    async def measure(self) -> Measured:
        """What was noticed since the last call; begins another period."""
        lost = await self._pair.settle()
        for task in self._tasks:
            if task.done():
                task.result()
        measured = Measured(
            seconds=time.monotonic() - self._started,
            echo_ms=sorted(self._pair.milliseconds),
            echo_cpu_ms=sorted(self._pair.cpu_milliseconds),
            healthz_ms=self._healthz.slowest_ms,
            healthz_failed=self._healthz.failed,
            lost=lost,
            closed=self._pair.closed,
            rss_bytes=self._rss_bytes,
            rss_peak_bytes=self._process.status("VmHWM"),
            rss_end_bytes=self._process.status("VmRSS"),
            cpu_seconds=self._process.cpu_seconds - self._cpu_seconds,
            descriptors=self._process.descriptors,
        )
        self._begin()
        return measured


def at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def drop(client: ClientConnection) -> None:
    """Reads what a client is sent, and drops it."""
    async for _ in client:
        continue


async def lines() -> asyncio.StreamReader:
    """The standard input of this process."""
    reader = asyncio.StreamReader()
    factory: Callable[[], asyncio.StreamReaderProtocol] = lambda: asyncio.StreamReaderProtocol(reader)  # noqa: E731
    await asyncio.get_running_loop().connect_read_pipe(factory, sys.stdin)
    return reader


async def run(options: Any) -> None:
    probe = Probe(options.port, options.pid, key=options.key, echo_seconds=options.echo_seconds)
    probe.start()
    tell("ready")
    reader = await lines()
    async with asyncio.timeout(_MAX_SECONDS):
        while await reader.readline():
            tell(json.dumps(await probe.measure()))


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("pid", type=int)
    parser.add_argument("--key", default="")
    parser.add_argument("--echo-seconds", type=float, default=ECHO_SECONDS)
    asyncio.run(run(parser.parse_args()))
