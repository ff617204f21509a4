"""`fanwise serve --workers N`: a launcher for N workers, and for their engine."""

from __future__ import annotations

import asyncio
import logging.config
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from ..backplane.workers.engine import PrivateEngine, find_program
from ..backplane.workers.launcher import Launcher
from ..backplane.workers.port import SharedPort
from ..backplane.workers.processes import Start, check_system, start
from ..backplane.workers.supervisor import Supervisor
from ..errors import SettingsError
from ..logs.events import Event, log
from ..logs.formatting import take_over
from ..serve import banner, facts, log_lines, raise_fd_limit, url_at
from ..settings import Settings, flag, variable

_PROGRAM = (sys.executable, "-m", "fanwise", "serve")
_GIVEN = {"workers", "port", "backplane"}  # what the launcher says to its workers


def launch(settings: Settings, flags: Mapping[str, str | bool | None], *, start: Start = start) -> int:
    """Runs `settings.workers` workers until a signal stops them; returns the exit status.

    Args:
        settings: What is in force.
        flags: The flags among them: workers are given these, and read variables and `.env` themselves.
        start: Starts a program.

    Raises:
        SettingsError: There is no engine, the system cannot share a port, or a file would have several writers.
    """
    program = check_launch(settings)
    fd_limit = raise_fd_limit()
    if settings.log_config is None:
        logging.config.dictConfig(log_lines(settings, pid=True))
    else:
        uvicorn.Config("", log_config=settings.log_config)  # as the workers read it
    take_over()
    try:
        port = SharedPort.reserve(settings.host, settings.port)
    except OSError as error:
        logging.getLogger("uvicorn.error").error("%s: port %s", error, settings.port)  # noqa: TRY400 - no traceback
        return STARTUP_FAILURE
    with closing(port):
        _tell(settings, port=port.number, fd_limit=fd_limit, engine=program)
        if program is None:
            return _run(settings, flags, port, None, start)
        engine = PrivateEngine(program, memory_bytes=settings.memory_bytes, start=start)
        try:
            return _run(settings, flags, port, engine, start)
        finally:
            engine.stop()


def check_launch(settings: Settings) -> str | None:
    """Returns the path of the private engine; None where the workers have another one.

    Raises:
        SettingsError: There is no engine, the system cannot share a port, or a file would have several writers.
    """
    check_system()
    if settings.uds is not None or settings.fd is not None:
        raise SettingsError([f"several workers share a port: {flag('uds')} and {flag('fd')} are for --workers 1"])
    if settings.trace is not None:
        problem = "several workers cannot write one trace: ask one of them with `fanwise trace`, or say --workers 1"
        raise SettingsError([f"{variable('trace')} ({flag('trace')}): {problem}"])
    if settings.backplane is not None:
        return None
    if find_spec("hiredis") is None:
        raise SettingsError(["several workers need the extra `workers`: pip install 'fanwise[workers]'"])
    return find_program(settings.engine)


def _run(
    settings: Settings,
    flags: Mapping[str, str | bool | None],
    port: SharedPort,
    engine: PrivateEngine | None,
    start: Start,
) -> int:
    launcher = Launcher(
        worker_command(flags, port=port.number, backplane=None if engine is None else engine.url),
        count=settings.workers,
        port=port,
        engine=engine,
        drain_seconds=settings.drain_seconds,
        start=start,
        supervisor=Supervisor.of_process(),
    )
    return asyncio.run(launcher.run())


def worker_command(flags: Mapping[str, str | bool | None], *, port: int, backplane: str | None) -> Sequence[str]:
    """Returns the program of a worker: with the flags of the launcher, but for those that it gives itself."""
    given: dict[str, str | bool | None] = {"workers": "1", "port": str(port), "backplane": backplane}
    taken = {name: value for name, value in flags.items() if name not in _GIVEN or given[name] is None} | {
        name: value for name, value in given.items() if value is not None
    }
    return serve_command(taken)


def serve_command(flags: Mapping[str, str | bool | None]) -> Sequence[str]:
    """Returns the program that serves with these flags."""
    words: list[str] = []
    for name, value in flags.items():
        if isinstance(value, bool):
            words.append(flag(name) if value else f"--no-{flag(name)[2:]}")
        elif value is not None:
            words += [flag(name), value]
    return [*_PROGRAM, *words]


def _tell(settings: Settings, *, port: int, fd_limit: int, engine: str | None) -> None:
    """Prints and logs what is in force for all workers together."""
    count = settings.workers
    url = url_at(settings, port)
    known = facts(settings, url=url, fd_limit=fd_limit)
    if settings.log_format == "text":
        lines = banner(settings, url=url, fd_limit=fd_limit)
        lines += workers_banner(settings, engine=engine)
        sys.stderr.write("\n".join(lines) + "\n")
    log(
        Event.LAUNCHED,
        workers=count,
        url=known["url"],
        version=known["version"],
        max_clients=count * settings.max_clients,
        memory_bytes=count * settings.memory_bytes,
        engine=engine or known["backplane"],
    )


def workers_banner(settings: Settings, *, engine: str | None) -> list[str]:
    """Returns what all workers have together, for people."""
    count = settings.workers
    clients, memory = count * settings.max_clients, count * settings.memory_bytes
    workers = f"  workers    {count}, each with these limits: together {clients} clients and {memory} bytes"
    if engine is None:
        return [workers]
    private = f"  backplane  private {Path(engine).name}, at most {settings.memory_bytes} bytes"
    return [workers, private]
