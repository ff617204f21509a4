"""Servers as a user runs them: processes of their own, on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .forks import Popen

ROOT = Path(__file__).parents[2]
_PORTS = itertools.count(random.randrange(2_000))  # two runs beside each other begin at different ports


def free_port() -> int:
    """Returns a port below those that the kernel gives away (ip(7)): none of the tests' clients takes it meanwhile.

    Workers of pytest-xdist that run beside each other have ports of their own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = 12_000 + 2_000 * (worker % 10) + next(_PORTS) % 2_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def clean_environ(**extra: str) -> dict[str, str]:
    """This process's environment without settings of ours, and with `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FANWISE_", "UVICORN_"))}
    inherited.pop("WEB_CONCURRENCY", None)
    return {**inherited, **extra}


def run(
    *args: str,
    cwd: Path = ROOT,
    stdin: str | None = None,
    before: Callable[[], object] | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """`python ARGS` from its start to its end, with what it has printed; `before` is called in the child."""
    argv, pipe = [sys.executable, *args], subprocess.PIPE
    with Popen(
        argv,
        cwd=cwd,
        env=clean_environ(**environ),
        stdin=subprocess.DEVNULL if stdin is None else pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=before,
    ) as process:
        try:
            said, errors = process.communicate(stdin, timeout=60)
        except BaseException:  # also a test's end; raised again
            process.kill()
            raise
    return subprocess.CompletedProcess(argv, process.returncode, said, errors)


class ServerProcess:
    """`python ARGS` with `{port}` filled in, listening when the constructor returns.

    `whole` starts it as a shell does, from the interpreter on, and not as a fork (`forks.py`). `before` is called
    in the process.
    """

    def __init__(
        self,
        *args: str,
        port: int | None = None,
        whole: bool = False,
        before: Callable[[], object] | None = None,
        **environ: str,
    ) -> None:
        self.port = free_port() if port is None else port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        argv = [sys.executable, *(arg.format(port=self.port) for arg in args)]
        start = subprocess.Popen if whole else Popen
        environment = clean_environ(**environ)
        self._process = start(argv, cwd=ROOT, env=environment, stdout=self._log, stderr=self._log, preexec_fn=before)
        try:
            wait_until_it_listens(self._process, self.port, lambda: self.log)
        except BaseException:  # whatever it was, also a test's end: the process must not outlive it; raised again
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """What the process has printed so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode()  # the process writes where the file's position is

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def wait_for_log(self, text: str) -> None:
        """Returns when `text` was printed; the test's own time limit ends a wait that is in vain."""
        while text not in self.log:
            try:
                status = self._process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"the server ended with {status}: {self.log}")

    def get(self, path: str) -> bytes:
        """The whole answer to a GET request."""
        return self.exchange(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())

    def exchange(self, request: bytes) -> bytes:
        """The whole answer to a request after which the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.sendall(request)
            return b"".join(iter(lambda: sock.recv(65_536), b""))

    def wait(self) -> int:
        """Returns the exit status when the process has ended; the test's own time limit ends a wait in vain."""
        return self._process.wait()

    def terminate(self) -> None:
        """Sends SIGTERM, if the process runs."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, *, within_seconds: float = 15) -> int:
        """Sends SIGTERM and returns the exit status; a process that does not end is killed, and the test fails."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(within_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise
        return self._process.returncode

    def kill(self) -> None:
        """Sends SIGKILL, and returns when the process is gone."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Stops the process, if it runs, and forgets its log."""
        self.stop()
        self._log.close()


def wait_until_it_listens(process: subprocess.Popen[Any], port: int, log: Callable[[], str]) -> None:
    """Returns when a process listens. Raises RuntimeError, with what it has logged, if it ends before."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            try:
                status = process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"it ended with {status}: {log()}") from error
