"""The command line: `fanwise`, or `python -m server`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, get_args

import click

from .errors import SettingsError
from .serve import check_exposure
from .serve import serve as run_server
from .settings import Settings, flag, load_settings, variable


def setting_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds a flag for each setting, with its description, default and environment variable as help."""
    for name, field in reversed(Settings.model_fields.items()):
        if field.annotation is bool:
            text = f"{field.description}  [{variable(name)}]"
            command = click.option(flag(name), name, is_flag=True, default=None, help=text)(command)
            continue
        default = "" if field.default in (None, ()) else f"  [default: {field.default}]"
        shown = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
        command = click.option(
            flag(name),
            name,
            metavar="|".join(shown) or name.rpartition("_")[2].upper(),
            help=f"{field.description}{default}  [{variable(name)}]",
        )(command)
    return command


@click.group()
@click.version_option(package_name="fanwise")
def main() -> None:
    """Fanwise: a WebSocket fan-out server. Flags win over FANWISE_* variables, those over a .env file."""


@main.command()
@setting_flags
def serve(**flags: str | bool | None) -> None:
    """Run the server."""
    try:
        settings = load_settings(**flags)
        check_exposure(settings)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"fanwise: {problem}", err=True)
        sys.exit(2)
    sys.exit(run_server(settings))
