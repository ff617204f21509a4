"""The command line: `fanwise`, or `python -m server`."""

from __future__ import annotations

import sys
from typing import get_args

import click

from .bench.command import bench
from .commands import publish, subscribe
from .errors import SettingsError


class SettingsCommand(click.Command):
    """A command with a flag for each setting, with its description, default and environment variable as help."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The flags. What they are made from is imported when they are asked for: the other commands start faster."""
        if not self.params:
            self.params = _setting_flags()
        return super().get_params(ctx)


def _setting_flags() -> list[click.Parameter]:
    from .settings import Settings, flag, variable  # noqa: PLC0415 - as above

    params: list[click.Parameter] = []
    for name, field in Settings.model_fields.items():
        if field.annotation is bool:
            text = f"{field.description}  [{variable(name)}]"
            params.append(click.Option([flag(name), name], is_flag=True, default=None, help=text))
            continue
        default = "" if field.default in (None, ()) else f"  [default: {field.default}]"
        shown = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
        metavar = "|".join(shown) or name.rpartition("_")[2].upper()
        text = f"{field.description}{default}  [{variable(name)}]"
        params.append(click.Option([flag(name), name], metavar=metavar, help=text))
    return params


@click.group()
@click.version_option(package_name="fanwise")
def main() -> None:
    """Fanwise: a WebSocket fan-out server. Flags win over FANWISE_* variables, those over a .env file."""


main.add_command(publish)
main.add_command(subscribe)
main.add_command(bench)


@main.command(cls=SettingsCommand)
def serve(**flags: str | bool | None) -> None:
    """Run the server."""
    from .serve import check_exposure  # noqa: PLC0415 - as above
    from .serve import serve as run_server  # noqa: PLC0415 - as above
    from .settings import load_settings  # noqa: PLC0415 - as above

    try:
        settings = load_settings(**flags)
        check_exposure(settings)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"fanwise: {problem}", err=True)
        sys.exit(2)
    sys.exit(run_server(settings))
