"""Engines with replicas and sentinels, and what can happen to them."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from fanwise.backplane.redis.link import LinkError

from ...support.engines import RedisServer, binary, redis_server
from ...support.processes import free_port
from .clock import Clock

_LOOK_SECONDS = 0.02


class Engine:
    """A server that listens on a Unix socket, and on a port for its replicas and sentinels."""

    def __init__(self, server: RedisServer, port: int) -> None:
        self.server = server
        self.port = port

    @property
    def socket(self) -> Path:
        return self.server.socket

    @property
    def pid(self) -> int:
        return self.server.process.pid

    async def ask(self, *command: str | int) -> object:
        return await self.server.ask(*command)

    async def role(self) -> str:
        try:
            text = await self.ask("INFO", "replication")
        except LinkError:  # sentinels end all links of an engine whose role they change
            text = await self.ask("INFO", "replication")
        assert isinstance(text, bytes)
        return next(line for line in text.decode().split("\r\n") if line.startswith("role:")).removeprefix("role:")

    async def kill_links(self) -> None:
        """Those of all clients, and not of replicas."""
        for kind in ("normal", "pubsub"):
            await self.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    async def follow(self, other: Engine | None) -> None:
        """Becomes a replica of another one, or its own primary."""
        await self.ask("REPLICAOF", *(("NO", "ONE") if other is None else ("127.0.0.1", str(other.port))))

    async def in_sync(self) -> None:
        """Waits until it has what its primary has."""

        async def is_up() -> bool:
            text = await self.ask("INFO", "replication")
            return isinstance(text, bytes) and b"master_link_status:up" in text

        await until_true(is_up)

    def fill_disk(self, *, full: bool) -> None:
        """No file may grow any more, or all may."""
        hard = resource.RLIM_INFINITY
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1 if full else hard, hard))

    def cut_file(self) -> None:
        """Loses the end of what was written: for a server that is down."""
        files = (self.server.folder / "appendonlydir").glob("*.incr.aof")
        newest = max(files, key=lambda path: path.stat().st_mtime)
        size = newest.stat().st_size
        with newest.open("r+b") as file:
            file.truncate(size - min(size // 4, 40_000))


def program_in(folder: Path, clock: Clock | None = None) -> str:
    """A program in `folder` that is the engine: a full disk is an error to it and no signal, and it has that clock."""
    path = folder / "engine"
    environ = "" if clock is None else f"export {clock.environ}\n"
    path.write_text(f"#!/bin/sh\ntrap '' XFSZ\n{environ}exec {binary()} \"$@\"\n")
    path.chmod(0o700)
    return str(path)


@contextlib.contextmanager
def engine(*options: str, program: str) -> Iterator[Engine]:
    """An engine for as long as the context lasts."""
    port = free_port()
    with redis_server(*options, "--port", str(port), "--bind", "127.0.0.1", program=program) as server:
        yield Engine(server, port)


@contextlib.contextmanager
def sentinels(primary: Engine, count: int, *, down_ms: int) -> Iterator[tuple[list[RedisServer], list[int]]]:
    """So many sentinels, of which a majority decides, and their ports."""
    with contextlib.ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        servers = []
        for port in ports:
            watched = ("--sentinel", "--sentinel", "monitor", "main", "127.0.0.1", str(primary.port))
            bounds = ("down-after-milliseconds", str(down_ms), "failover-timeout", "3000", "parallel-syncs", "1")
            options = [*watched, str(count // 2 + 1), "--port", str(port), "--bind", "127.0.0.1"]
            for name, value in zip(bounds[::2], bounds[1::2], strict=True):
                options += ["--sentinel", name, "main", value]
            servers.append(stack.enter_context(redis_server(*options, config=True)))
        yield servers, ports


async def until_true(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Asks until it is so. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(LinkError, OSError):
                if await condition():
                    return
            await asyncio.sleep(_LOOK_SECONDS)
