from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from fanwise.cli.flags import SettingsCommand
from fanwise.settings import Settings, flag


@pytest.fixture
def command() -> tuple[click.Command, dict[str, Any]]:
    """A command with an option of its own, and what it was called with."""
    called: dict[str, Any] = {}

    @click.command(cls=SettingsCommand)
    @click.option("--colour")
    def paint(**given: Any) -> None:
        called.update(given)

    return paint, called


def test_a_command_takes_its_own_options_and_all_settings(command: tuple[click.Command, dict[str, Any]]) -> None:
    """As they were typed, and None for what was not; however often it is asked what it takes."""
    paint, called = command
    CliRunner().invoke(paint, ["--help"])
    done = CliRunner().invoke(paint, ["--colour", "red", "--queue-bytes", "70000", "--open"])
    assert done.exit_code == 0, done.output
    assert called.keys() == {"colour", *Settings.model_fields}
    assert (called["colour"], called["queue_bytes"], called["open"], called["host"]) == ("red", "70000", True, None)


def test_a_flag_says_yes_or_no(command: tuple[click.Command, dict[str, Any]]) -> None:
    """What is on by default has a flag that switches it off."""
    paint, called = command
    done = CliRunner().invoke(paint, ["--no-rate-limits"])
    assert (done.exit_code, called["rate_limits"]) == (0, False)
    assert "No such option" in CliRunner().invoke(paint, ["--no-open"]).output


def test_help_names_both(command: tuple[click.Command, dict[str, Any]]) -> None:
    """The command's own first; each setting once."""
    shown = CliRunner().invoke(command[0], ["--help"]).output
    assert shown.index("--colour") < shown.index("--host")
    for name in Settings.model_fields:
        assert shown.count(f"  {flag(name)} ") == 1
