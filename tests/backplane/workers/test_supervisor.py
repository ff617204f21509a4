from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanwise.backplane.workers.supervisor import Supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """The supervisor's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


async def test_a_supervisor_hears_of_the_process(heard: socket.socket) -> None:
    """Ready, alive again and again, stopping; its variables are not for child processes."""
    environ = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "30000", "WATCHDOG_PID": str(os.getpid())}
    supervisor = Supervisor.of_process(environ)
    assert environ == {}
    loop = asyncio.get_running_loop()
    supervisor.ready("takes clients")
    try:
        assert await loop.sock_recv(heard, 100) == b"READY=1\nSTATUS=takes clients"
        for _ in range(3):
            assert await loop.sock_recv(heard, 100) == b"WATCHDOG=1"
    finally:
        supervisor.close()
    supervisor.stopping()
    said = [await loop.sock_recv(heard, 100)]
    while said[-1] == b"WATCHDOG=1":
        said.append(await loop.sock_recv(heard, 100))
    assert said[-1] == b"STOPPING=1"


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": "/nonexistent/notify"}, {"NOTIFY_SOCKET": "@fanwise-nobody"}]
)
async def test_without_a_supervisor_nothing_happens(environ: dict[str, str]) -> None:
    """Nor with one that is gone."""
    supervisor = Supervisor.of_process(environ | {"WATCHDOG_USEC": "10000", "WATCHDOG_PID": "1"})
    supervisor.ready("takes clients")
    supervisor.stopping()
    supervisor.close()


async def test_an_abstract_socket() -> None:
    """As containers have it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0fanwise-{os.getpid()}")
        sock.setblocking(False)
        Supervisor(f"@fanwise-{os.getpid()}").stopping()
        assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"STOPPING=1"
