"""Where a server listens beside an address: a path, a descriptor of systemd, and below a prefix."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import unix_connect

from ..support.processes import ServerProcess, clean_environ, run

SERVE = (sys.executable, "-m", "fanwise", "serve")


class UnixConnection(HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@contextmanager
def started(*args: str, cwd: Path, pass_fds: Sequence[int] = (), **environ: str) -> Iterator[subprocess.Popen[str]]:
    """`fanwise serve ARGS`, which does not outlive the context."""
    process = subprocess.Popen(
        [*SERVE, *args],
        env=clean_environ(**environ),
        cwd=cwd,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def notified(sock: socket.socket) -> str:
    sock.settimeout(60)
    return sock.recv(1000).decode().split("\n")[0]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_path_and_a_supervisor(tmp_path: Path, loop: str) -> None:
    """Clients get what is published, at the address that the proxy names; the supervisor hears of start and stop."""
    path, told = tmp_path / "s", tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(told))
        args = ("--uds", str(path), "--trusted-proxies", "unix", "--loop", loop)
        with started(*args, "--open", cwd=tmp_path, NOTIFY_SOCKET=str(told)) as process:
            assert notified(supervisor) == "READY=1"
            with unix_connect(
                str(path), "ws://localhost/ws", additional_headers={"X-Forwarded-For": "192.0.2.7"}
            ) as client:
                client.send("hello")
                assert client.recv() == "Message: hello"
                connection = UnixConnection(path)
                connection.request("GET", "/clients")
                (listed,) = json.load(connection.getresponse())["clients"]
                assert (listed["address"], listed["path"]) == ("192.0.2.7:0", "direct")
                connection.close()
            process.send_signal(signal.SIGTERM)
            assert notified(supervisor) == "STOPPING=1"
            said = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert f"Fanwise 0.1.0 on unix:{path}" in said
    assert not path.exists()


def test_a_launcher_tells_its_supervisor(tmp_path: Path) -> None:
    """And its workers do not: their variables are gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        environ: Any = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "FANWISE_DRAIN_SECONDS": "0"}
        with started("--workers", "2", "--port", "0", cwd=tmp_path, **environ) as process:
            assert [notified(supervisor)] == ["READY=1"]
            process.terminate()
            assert notified(supervisor) == "STOPPING=1"
            assert process.wait(60) == 0


def test_a_descriptor_that_is_handed_down(tmp_path: Path) -> None:
    """As systemd does for a socket unit: connections that came before the server wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with started("--fd", str(listener.fileno()), cwd=tmp_path, pass_fds=[listener.fileno()]):
            assert early.recv(100).startswith(b"HTTP/1.1 200 ")


def test_below_a_prefix(server_process: Callable[..., ServerProcess]) -> None:
    """Whether the proxy leaves it in place, or takes it away."""
    server = server_process("-m", "fanwise", "serve", "--port", "{port}", "--root-path", "/live")
    for prefix in ("", "/live"):
        assert b"200 OK" in server.get(f"{prefix}/stats")
    assert json.loads(server.get("/live/openapi.json").partition(b"\r\n\r\n")[2])["servers"] == [{"url": "/live"}]


def test_changed_files_start_it_again(tmp_path: Path) -> None:
    """For development."""
    with started("--port", "0", "--reload", cwd=tmp_path) as process:
        assert process.stderr is not None
        starts = (line for line in process.stderr if " takes clients on " in line)
        next(starts)
        (tmp_path / "other.txt").write_text("no matter")
        (tmp_path / "code.py").write_text("x = 1")
        next(starts)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--uds", "/nonexistent/s"], "No such file or directory"),
        (["--fd", "99"], "descriptor 99 is no socket"),
        (["--fd", "2"], "FANWISE_FD (--fd) is '2'"),
        (["--root-path", "live/"], "a prefix looks like /live"),
        (["--log-config", "/nonexistent.json"], "it takes a file that is there"),
        (["--workers", "2", "--uds", "/tmp/s"], "--uds and --fd are for --workers 1"),
    ],
)
def test_what_cannot_be_is_said(args: list[str], says: str) -> None:
    """In a line, without a traceback."""
    done = run("-m", "fanwise", "serve", *args)
    assert done.returncode in (2, 3)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
