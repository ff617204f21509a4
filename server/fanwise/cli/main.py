"""The command line: `fanwise`, or `python -m fanwise`."""

from __future__ import annotations

import sys

import click

from ..errors import SettingsError
from .bench import bench
from .commands import publish, subscribe
from .doctor import doctor
from .flags import SettingsCommand
from .top import top


@click.group()
@click.version_option(package_name="fanwise")
def main() -> None:
    """Fanwise: a WebSocket fan-out server. Flags win over FANWISE_* variables, those over a .env file."""


main.add_command(publish)
main.add_command(subscribe)
main.add_command(bench)
main.add_command(doctor)
main.add_command(top)


@main.command(cls=SettingsCommand)
def serve(**flags: str | bool | None) -> None:
    """Run the server."""
    from ..serve import check_exposure  # noqa: PLC0415 - other commands start faster without it
    from ..serve import serve as run_server  # noqa: PLC0415 - as above
    from ..settings import load_settings  # noqa: PLC0415 - as above

    try:
        settings = load_settings(**flags)
        check_exposure(settings)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"fanwise: {problem}", err=True)
        sys.exit(2)
    sys.exit(run_server(settings))
