"""Commands that take the settings as flags."""

from __future__ import annotations

from typing import get_args

import click


class SettingsCommand(click.Command):
    """A command with a flag for each setting, with its description, default and environment variable as help."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own options, then the flags.

        What they are made from is imported when they are asked for: the other commands start faster.
        """
        own = {param.name for param in self.params}
        self.params += [param for param in _setting_flags() if param.name not in own]
        return super().get_params(ctx)


def _setting_flags() -> list[click.Parameter]:
    from ..settings import Settings, flag, variable  # noqa: PLC0415 - as above

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
