"""`fanwise serve`: settings in, a running server."""

from __future__ import annotations

import sys

import click

from .flags import SettingsCommand, exit_on_bad_settings


@click.command(cls=SettingsCommand)
@click.option("--worker", hidden=True, help="The place of a worker, as its launcher says it.")
def serve(worker: str | None, **flags: str | bool | None) -> None:
    """Run the server."""
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
