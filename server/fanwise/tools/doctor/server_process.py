"""The server that is started to be looked at: `fanwise serve` with the settings in force, on a port of its own."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from ...errors import FanwiseError
from ..humanize import printable
from ..remote import Remote, RemoteError

_HOST = "127.0.0.1"
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_ROOM = {"FANWISE_MAX_CLIENTS": "100", "FANWISE_MAX_CHANNELS": "100"}  # for those who look, however few may come
_LAST_LINES = 3  # of what a server printed that did not start


class NotStartedError(FanwiseError):
    """The server ended, or did not answer in time; with the last that it printed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"the server did not start: {self.said or 'it said nothing'}"


@contextmanager
def hosting(environ: Mapping[str, str], *, api_key: str | None, secure: bool) -> Iterator[Remote]:
    """Runs a server with these variables beside those of the environment while the context lasts.

    Yields when it answers.

    Raises:
        NotStartedError: It does not.
    """
    port = _free_port()
    own = {"FANWISE_HOST": _HOST, "FANWISE_PORT": str(port), "FANWISE_DRAIN_SECONDS": "0", **_ROOM}
    remote = Remote(
        f"{'https' if secure else 'http'}://{_HOST}:{port}", api_key=api_key, context=_trusting() if secure else None
    )
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own package
            [sys.executable, "-m", __package__.partition(".")[0], "serve"],
            env={**os.environ, **environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait(process, remote, log)
            yield remote
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], remote: Remote, log: IO[bytes]) -> None:
    deadline, trouble = time.monotonic() + _START_SECONDS, ""
    while time.monotonic() < deadline:
        try:
            if remote.stats()["server"]["pid"] == process.pid:
                return
            trouble = "another server was faster with the port"
        except RemoteError as error:
            trouble = str(error)
        try:
            process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        break
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
    raise NotStartedError("; ".join(printable(line.strip(), most=200) for line in said) or trouble)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _trusting() -> ssl.SSLContext:
    """Takes any certificate: it is our own process, and its certificate is for another name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
