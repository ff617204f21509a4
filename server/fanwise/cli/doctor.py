"""`fanwise doctor`: settings in, exit status out."""

from __future__ import annotations

import inspect
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from platform import python_version
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from ..core.roles import Role, key_with
from ..errors import FanwiseError, SettingsError
from ..tools.doctor.findings import Finding
from ..tools.doctor.report import Report, as_json, lines
from ..tools.remote import Remote
from .flags import SettingsCommand
from .interrupts import INTERRUPTED, interrupt_on_signals

if TYPE_CHECKING:  # both bring along much that other commands do not need
    from ..settings import Settings
    from ..tools.doctor.backpressure import Measured

CANNOT = 3  # exit status beside those of `Level`


class DoctorCommand(SettingsCommand):
    """A command with its own status for mistakes of usage: 2, click's, means that a check has failed."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Reads the command line."""
        with _own_status():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        with _own_status():
            return super().invoke(ctx)


@contextmanager
def _own_status() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        error.show()
        raise click.exceptions.Exit(CANNOT) from error


@click.command(cls=DoctorCommand)
@click.option(
    "--url", metavar="URL", help="Look at this server, which runs already; of the settings, only the key counts."
)
@click.option(
    "--publish", is_flag=True, help="With --url: publish up to 64 MB to a channel of its own, also on another machine."
)
@click.option("--json", "json_wanted", is_flag=True, help="Print the findings as JSON.")
def doctor(url: str | None, *, publish: bool, json_wanted: bool, **flags: str | bool | None) -> None:
    """Check whether a server is, or would be here, as it should be.

    Without --url the command starts a server with the settings in force, checks server and machine, and stops the
    server.

    Each line is ok, warn or fail, with the fix. The status is that of the worst one: 0, 1 or 2; it is 3 when nothing
    could be checked: a wrong option or setting, no server, a wrong key.
    """
    interrupt_on_signals()  # or a server that we have started would stay
    try:
        report = _there(url, flags, publish=publish) if url is not None else _here(flags)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except FanwiseError as error:
        problems = error.problems if isinstance(error, SettingsError) else [str(error)]
        for problem in problems:
            click.echo(f"fanwise doctor: {problem}", err=True)
        sys.exit(CANNOT)
    if json_wanted:
        click.echo(as_json(report))
    else:
        columns = get_terminal_size().columns if sys.stdout.isatty() else None
        for line in lines(report, columns=columns):
            click.echo(line)  # without colours where this is no terminal
    sys.exit(report.worst)


def _there(url: str, flags: dict[str, Any], *, publish: bool) -> Report:
    """Reports on a running server, from outside."""
    from ..core.addresses import is_loopback  # noqa: PLC0415 - imported late
    from ..settings import flag, variable  # noqa: PLC0415 - other commands start faster without it
    from ..tools.doctor import checks  # noqa: PLC0415 - imported late

    given = [flag(name) for name, value in flags.items() if value is not None and name != "api_key"]
    if given:
        raise click.UsageError(f"{', '.join(given)}: a server that runs already (--url) has settings of its own")
    key = key_with(Role.OPERATE, flags["api_key"] or os.environ.get(variable("api_key")))
    remote = Remote(url, api_key=key)
    report = Report(checks.describe(remote))
    loopback = is_loopback(remote.host)
    checks.check_exposure(report, remote, loopback=loopback)
    if checks.check_processes(report, remote):
        checks.check_server(report, remote, publish=publish or loopback)
        report.left_out.append(checks.UNSEEN)
    else:
        report.left_out.append(checks.SEVERAL)
    return report


def _here(flags: dict[str, Any]) -> Report:
    """Reports on `fanwise serve` as it would be on this machine."""
    from ..settings import load_settings  # noqa: PLC0415 - imported late
    from ..tools.doctor import checks  # noqa: PLC0415 - imported late
    from ..tools.doctor.system import System  # noqa: PLC0415 - imported late

    settings = load_settings(**flags)
    machine = System()
    report = Report(
        f"`fanwise serve` with the settings in force, Fanwise {version('fanwise')} on Python {python_version()}"
    )
    report.findings += _posture(settings)
    report.findings += _engines(settings)
    clients = checks.machine_limits(report, machine, max_clients=settings.max_clients, backlog=_backlog())
    process_bytes, measured = _tried_out(report, settings, flags)
    checks.check_keep_alive(
        report,
        measured,
        ping_seconds=settings.ping_seconds,
        pong_seconds=settings.pong_seconds,
        skips=settings.overflow != "disconnect",
    )
    checks.machine_memory(
        report,
        machine,
        clients=clients,
        process_bytes=process_bytes,
        memory_bytes=settings.memory_bytes,
        unsent_bytes=settings.socket_unsent_bytes,
        measured=measured,
        processes=settings.workers + (settings.workers > 1 and settings.backplane is None),
        queue_messages=settings.queue_messages,
        queue_bytes=settings.queue_bytes,
        history_messages=settings.history_messages,
        history_bytes=settings.history_bytes,
    )
    return report


def _posture(settings: Settings) -> list[Finding]:
    from ..core.addresses import is_loopback  # noqa: PLC0415 - imported late
    from ..serve import check_exposure  # noqa: PLC0415 - imported late
    from ..tools.doctor import exposure  # noqa: PLC0415 - imported late
    from .launch import check_launch  # noqa: PLC0415 - imported late

    problems: list[str] = []
    workers: list[str] = []
    try:
        check_exposure(settings)
    except SettingsError as error:
        problems = error.problems
    try:
        if settings.workers > 1:
            check_launch(settings)
    except SettingsError as error:
        workers = error.problems
    return [
        exposure.exposure(
            address=f"{settings.host}:{settings.port}",
            key=settings.publishing != "open",
            loopback=is_loopback(settings.host),
            problems=problems,
        ),
        exposure.workers(os.environ, settings.workers, workers),
    ]


def _engines(settings: Settings) -> list[Finding]:
    """Looks at the engines that the settings name."""
    import asyncio  # noqa: PLC0415 - other commands start faster without it

    from ..backplane.examination import examine  # noqa: PLC0415 - imported late
    from ..backplane.urls import default_replicas  # noqa: PLC0415 - imported late
    from ..tools.doctor.engine import engine  # noqa: PLC0415 - imported late

    if settings.backplane is None:
        return []
    urls, durable = settings.backplane.get_secret_value(), settings.backplane_durable
    replicas = default_replicas(urls) if settings.backplane_replicas is None else settings.backplane_replicas
    found = asyncio.run(examine(urls, prefix=settings.backplane_prefix, durable=durable))
    return [finding for facts in found for finding in engine(facts, durable=durable, replicas=replicas)]


def _backlog() -> int:
    """Returns uvicorn's default backlog, which `fanwise serve` keeps."""
    import uvicorn  # noqa: PLC0415 - imported late

    return int(inspect.signature(uvicorn.Config).parameters["backlog"].default)


def _tried_out(report: Report, settings: Settings, flags: dict[str, Any]) -> tuple[int, Measured | None]:
    """Examines a server of our own: (memory after its start, measured backpressure)."""
    from ..settings import variable  # noqa: PLC0415 - imported late
    from ..tools.doctor import checks  # noqa: PLC0415 - imported late
    from ..tools.doctor.server_process import hosting  # noqa: PLC0415 - imported late

    given = {name: value for name, value in flags.items() if value is not None}
    environ = {variable(name): str(value) for name, value in given.items()}  # "True" is true for pydantic
    alone = {variable("backplane"): "", variable("workers"): "1"}  # what is tried out is not for clients of others
    api_key = None
    if settings.publishing != "open":  # a key with all roles: those of the settings may lack some, or be tokens
        api_key = alone[variable("api_key")] = secrets.token_urlsafe(16)
    with hosting(environ | alone, api_key=api_key, secure=settings.ssl_certfile is not None) as remote:
        process_bytes = int(remote.stats()["now"]["rss_bytes"])
        return process_bytes, checks.check_server(report, remote, publish=True)
