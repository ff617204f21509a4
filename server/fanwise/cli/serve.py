"""`fanwise serve`: settings in, a running server."""

from __future__ import annotations

import sys

import click

from .flags import SettingsCommand, exit_on_bad_settings


@click.command(cls=SettingsCommand)
def serve(**flags: str | bool | None) -> None:
    """Run the server."""
    from ..serve import check_settings  # noqa: PLC0415 - other commands start faster without it
    from ..serve import serve as run_server  # noqa: PLC0415 - imported late
    from ..settings import load_settings  # noqa: PLC0415 - imported late

    with exit_on_bad_settings("serve"):
        settings = load_settings(**flags)
        check_settings(settings)
        status = run_server(settings)
    sys.exit(status)
