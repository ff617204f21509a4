"""`fanwise config`: each setting in force, and the place that it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from ..tools.humanize import printable
from .flags import SettingsCommand, exit_on_bad_settings

NOT_SET = "-"
_SHOWN_CHARACTERS = 4096


@click.command(cls=SettingsCommand)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: {setting: {value, source}}.")
def config(*, as_json: bool, **flags: str | bool | None) -> None:
    """Print the settings that `fanwise serve` would run with, and where each comes from.

    A source is flag, environment, .env, the file that --config names, or default. Secrets are masked.
    Settings that `fanwise serve` refuses end the command with the same error, and status 2.
    """
    from ..serve import check_settings  # noqa: PLC0415 - other commands start faster without it
    from ..settings import load_settings, sources  # noqa: PLC0415 - imported late

    with exit_on_bad_settings("config"):
        settings = load_settings(**flags)
        check_settings(settings)
    values, found = settings.model_dump(mode="json", exclude={"channels"}), sources(**flags)  # pydantic masks secrets
    channels = {pattern: options.given() for pattern, options in settings.channels.items()}
    values = {name: channels if name == "channels" else values[name] for name in found}
    if as_json:
        click.echo(json.dumps({name: {"value": values[name], "source": found[name]} for name in values}, indent=2))
        return
    for line in rows(values, found):
        click.echo(line)


def rows(values: dict[str, Any], found: dict[str, str]) -> Iterator[str]:
    """Lines of three columns: variable, value, source."""
    from ..settings import variable  # noqa: PLC0415 - imported late

    channels = values.get("channels", {})
    table = [(variable(name), shown(value), found[name]) for name, value in values.items()]
    table += [(f"channels {pattern}", shown_options(given), found["channels"]) for pattern, given in channels.items()]
    widths = [max(len(row[column]) for row in table) for column in (0, 1)]
    for name, value, source in table:
        yield f"{name:{widths[0]}}  {value:{widths[1]}}  {source}"


def shown_options(given: dict[str, Any]) -> str:
    """Options as a table of TOML has them; `NOT_SET` for none."""
    words = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    return printable(" ".join(words).replace("Infinity", "inf"), most=_SHOWN_CHARACTERS) or NOT_SET


def shown(value: Any) -> str:
    """A value as a variable takes it: "true", "a,b"; `NOT_SET` for None and for an empty list."""
    if isinstance(value, dict):
        value = f"{len(value)} patterns" if value else None
    if isinstance(value, list):
        value = ",".join(value) or None
    if isinstance(value, bool):
        return str(value).lower()
    return NOT_SET if value is None else printable(value, most=_SHOWN_CHARACTERS) or "''"
