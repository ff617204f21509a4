"""Servers to measure, as processes of their own on a free port of the loopback interface."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import BenchFailedError

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_LOG_CHARACTERS = 2000  # of what a server printed that did not start
_PORT = "{port}"

FANWISE = ("-m", "fanwise", "serve", "--host", "127.0.0.1", "--port", _PORT, "--log-level", "warning")
_UVICORN = ("-m", "uvicorn", "--host", "127.0.0.1", "--port", _PORT, "--log-level", "warning")
BASELINES = {  # {name: arguments of the interpreter}
    "tutorial": (*_UVICORN, "fanwise.tools.bench.run.baselines:tutorial"),
    "queue": (*_UVICORN, "fanwise.tools.bench.run.baselines:queue_and_task"),
}


@dataclass(frozen=True, slots=True)
class Host:
    """A server that listens: where, and which process it is."""

    url: str
    pid: int


@contextmanager
def hosting(arguments: tuple[str, ...], *, cpus: tuple[int, ...] = ()) -> Iterator[Host]:
    """Runs `python ARGUMENTS` while the context lasts, on `cpus` if given; yields when it listens.

    Raises:
        BenchFailedError: It ended, or did not listen in time; with what it printed.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, *(port_in(argument, port) for argument in arguments)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - ours
        try:
            if cpus:
                os.sched_setaffinity(process.pid, cpus)
            if not _listens(process, port):
                log.seek(0)
                said = log.read().decode(errors="replace")[-_LOG_CHARACTERS:].strip()
                raise BenchFailedError(f"the server did not start ({' '.join(arguments)}): {said or 'it said nothing'}")
            yield Host(f"ws://127.0.0.1:{port}/ws?channel={{channel}}", process.pid)
        finally:
            _stop(process)


def port_in(argument: str, port: int) -> str:
    """The argument with the port filled in."""
    return str(port) if argument == _PORT else argument


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            return False
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:  # a server that waits for clients that do not read
        process.kill()
        process.wait()
