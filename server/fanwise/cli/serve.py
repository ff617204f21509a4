"""`fanwise serve`: settings in, a running server."""

from __future__ import annotations

import shlex
import sys

import click

from .flags import SettingsCommand, exit_on_bad_settings

_WATCHED = (".py", ".toml", ".env")  # ends of names


@click.command(cls=SettingsCommand)
@click.option("--worker", hidden=True, help="The place of a worker, as its launcher says it.")
@click.option(
    "--reload", is_flag=True, help="For development: start again when a .py, .toml or .env file changes here."
)
def serve(worker: str | None, *, reload: bool, **flags: str | bool | None) -> None:
    """Run the server."""
    if reload:
        _serve_again_and_again(flags)
        return
    from ..backplane.workers.member import Member  # noqa: PLC0415 - other commands start faster without it
    from ..serve import check_settings  # noqa: PLC0415 - imported late
    from ..serve import serve as run_server  # noqa: PLC0415 - imported late
    from ..settings import load_settings  # noqa: PLC0415 - imported late
    from .launch import launch  # noqa: PLC0415 - imported late

    with exit_on_bad_settings("serve"):
        settings = load_settings(**flags)
        check_settings(settings)
        if worker is None and settings.workers > 1:
            status = launch(settings, flags)
        else:
            status = run_server(settings, None if worker is None else Member.of(worker))
    sys.exit(status)


def _serve_again_and_again(flags: dict[str, str | bool | None]) -> None:
    """Runs the server in a child process, and another one after each change of a file, until a signal comes."""
    from watchfiles import run_process  # noqa: PLC0415 - imported late

    from .launch import serve_command  # noqa: PLC0415 - imported late

    run_process(
        ".",
        target=shlex.join(serve_command(flags)),
        target_type="command",
        watch_filter=lambda _, path: path.endswith(_WATCHED),
        callback=lambda changes: click.echo(f"fanwise serve: {len(changes)} files have changed", err=True),
    )
