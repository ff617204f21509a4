"""Launchers whose workers are stand-ins: processes that take milliseconds to start."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from fanwise.backplane.workers.engine import PrivateEngine
from fanwise.backplane.workers.launcher import Launcher
from fanwise.backplane.workers.port import SharedPort
from fanwise.backplane.workers.processes import start

from ...support import stand_in

Launched = Callable[..., AbstractAsyncContextManager[Launcher]]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Asyncio, on which launchers run: uvloop leaves no SIGCHLD to others."""
    return "asyncio", {"use_uvloop": False}


@pytest.fixture
def port() -> Iterator[SharedPort]:
    reserved = SharedPort.reserve("127.0.0.1", 0)
    yield reserved
    reserved.close()


@pytest.fixture
def launched(port: SharedPort) -> Launched:
    """A launcher that runs while the context lasts, and whose workers do what the mode says."""

    @asynccontextmanager
    async def launch(
        mode: str = "works", count: int = 2, engine: PrivateEngine | None = None
    ) -> AsyncIterator[Launcher]:
        command = [sys.executable, "-I", "-S", stand_in.__file__, mode]
        launcher = Launcher(command, count=count, port=port, engine=engine, drain_seconds=1.0, start=start)
        running = asyncio.create_task(launcher.run())
        try:
            yield launcher
        finally:
            launcher._asked_to_stop()
            launcher._asked_to_stop()
            await running

    return launch


async def ask(port: SharedPort) -> int:
    """The process id of the worker that a new connection comes to; 0: it was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    try:
        return int(await reader.read() or 0)
    except ConnectionResetError:
        return 0
    finally:
        writer.close()
