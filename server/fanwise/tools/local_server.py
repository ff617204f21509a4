"""A server as a process of our own, on a free port of the loopback interface: for `bench` and `doctor`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Final, NamedTuple

from ..errors import FanwiseError
from .humanize import printable

HOST: Final = "127.0.0.1"
PORT: Final = "{port}"  # stands for the port in arguments
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.02
_LAST_LINES, _LINE_CHARACTERS = 3, 200  # of the output of a server that did not start


class NotStartedError(FanwiseError, RuntimeError):
    """The server ended, or was not ready in time; with the last lines that the server printed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"the server did not start: {self.said or 'it said nothing'}"


class LocalServer(NamedTuple):
    """A server that was started: port and process."""

    port: int
    pid: int

    def url(self, scheme: str, path: str = "") -> str:
        """The URL of `path`: "ws://127.0.0.1:8000/ws"."""
        return f"{scheme}://{HOST}:{self.port}{path}"


def does_not_listen(server: LocalServer) -> str | None:
    """Returns why a connection to the server fails; None if one stands."""
    try:
        socket.create_connection((HOST, server.port), timeout=1).close()
    except OSError as error:
        return str(error)
    return None


@contextmanager
def running(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    cpus: Sequence[int] = (),
    not_ready: Callable[[LocalServer], str | None] = does_not_listen,
) -> Iterator[LocalServer]:
    """Runs `python ARGUMENTS` while the context lasts.

    Args:
        arguments: Of the interpreter; `PORT` among them becomes the port.
        environ: Variables beside those of this process.
        cpus: CPUs that the process may use; empty for all.
        not_ready: Asked again and again: why the server is not ready, or None. The context begins with None.

    Raises:
        NotStartedError: The process ended, or was not ready within 30 s.
    """
    port = _free_port()
    command = [sys.executable, *(str(port) if argument == PORT else argument for argument in arguments)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own packages
            command, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        server = LocalServer(port, process.pid)
        try:
            if cpus:
                os.sched_setaffinity(process.pid, cpus)
            trouble = _wait(process, lambda: not_ready(server))
            if trouble is not None:
                raise NotStartedError(_last_lines(log) or trouble)
            yield server
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], not_ready: Callable[[], str | None]) -> str | None:
    """Waits until the server is ready; returns what the trouble was if that never comes."""
    deadline = time.monotonic() + _START_SECONDS
    while (trouble := not_ready()) is not None and time.monotonic() < deadline:
        try:
            process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        break
    return trouble


def _last_lines(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
    return "; ".join(printable(line.strip(), most=_LINE_CHARACTERS) for line in lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:  # a server that waits for clients that do not read
        pass
    finally:  # also when this process was told to end meanwhile
        process.kill()
        process.wait()
