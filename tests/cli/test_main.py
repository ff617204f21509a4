from __future__ import annotations

import subprocess
import sys

import pytest

from fanwise.settings import Settings, flag, variable

from ..support.processes import ROOT, clean_environ


def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fanwise", *args],
        cwd=ROOT,
        env=clean_environ(**environ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("args", "environ", "says"),
    [
        (["--port", "99999"], {}, ["FANWISE_PORT (--port) is '99999'", "65535"]),
        ([], {"FANWISE_QUEUE_MESSAGES": "-1"}, ["FANWISE_QUEUE_MESSAGES", "greater than or equal to 1"]),
        ([], {"FANWISE_QUEUE_MESAGES": "1"}, ["FANWISE_QUEUE_MESAGES", "did you mean FANWISE_QUEUE_MESSAGES?"]),
        (["--qeue-bytes", "1"], {}, ["--qeue-bytes"]),
    ],
)
def test_bad_settings_end_with_status_2(args: list[str], environ: dict[str, str], says: list[str]) -> None:
    """And one line for each, without a traceback."""
    done = run("serve", *args, **environ)
    assert done.returncode == 2
    for words in says:
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_setting() -> None:
    """With its flag, its variable and its default."""
    shown = " ".join(run("serve", "--help").stdout.split())
    for name, field in Settings.model_fields.items():
        assert flag(name) in shown
        assert f"[{variable(name)}]" in shown
        assert isinstance(field.default, bool | tuple) or str(field.default or "") in shown


def test_all_commands_are_listed() -> None:
    """Each with what it is for."""
    shown = run("--help").stdout
    for command in ("serve", "publish", "subscribe", "bench", "doctor", "top"):
        assert f"  {command} " in shown


def test_the_version() -> None:
    """`python -m fanwise` is `fanwise`."""
    assert run("--version").stdout.startswith("fanwise, version 0.")


def test_serving_others_without_a_key_has_to_be_meant() -> None:
    """The command refuses, with the two ways out."""
    done = run("serve", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "--open" in done.stderr
    assert "FANWISE_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
