"""Commands that take the settings as flags, and end with status 2 when a setting cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import click

from ..errors import SettingsError

BAD_SETTINGS = 2  # exit status, as for mistakes of usage


class SettingsCommand(click.Command):
    """A command with a flag for each setting, with its description, default and environment variable as help."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own options, then the flags.

        Imports the settings when click asks for the flags: other commands start faster.
        """
        own = {word for param in self.params for word in (param.name, *param.opts)}
        self.params += [param for param in _setting_flags() if own.isdisjoint((param.name, *param.opts))]
        return super().get_params(ctx)


@contextmanager
def exit_on_bad_settings(command: str) -> Iterator[None]:
    """Ends `fanwise COMMAND` at a `SettingsError`: with status 2, and a line for each problem."""
    try:
        yield
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"fanwise {command}: {problem}", err=True)
        sys.exit(BAD_SETTINGS)


def _setting_flags() -> list[click.Parameter]:
    from ..settings import Settings, flag, variable  # noqa: PLC0415 - imported late

    params: list[click.Parameter] = []
    for name, field in Settings.model_fields.items():
        if field.annotation is bool:
            text = f"{field.description}  [{variable(name)}]"
            spelled = f"{flag(name)}/--no-{flag(name)[2:]}" if field.default else flag(name)
            params.append(click.Option([spelled, name], is_flag=True, default=None, help=text))
            continue
        default = "" if field.default in (None, (), {}) else f"  [default: {field.default}]"
        shown = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
        metavar = "|".join(shown) or name.rpartition("_")[2].upper()
        text = f"{field.description}{default}  [{variable(name)}]"
        params.append(click.Option([flag(name), name], metavar=metavar, help=text))
    return params
