from __future__ import annotations

import pytest

from fanwise.settings import Settings, flag, variable

from ..support.commands import fanwise
from ..support.processes import ROOT


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
    done = fanwise("serve", *args, cwd=ROOT, **environ)
    assert done.returncode == 2
    for words in says:
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_setting() -> None:
    """With its flag, its variable and its default."""
    shown = " ".join(fanwise("serve", "--help").stdout.split())
    for name, field in Settings.model_fields.items():
        assert flag(name) in shown
        assert f"[{variable(name)}]" in shown
        assert isinstance(field.default, bool | tuple) or str(field.default or "") in shown


def test_serving_others_without_a_key_has_to_be_meant() -> None:
    """The command refuses, with the two ways out."""
    done = fanwise("serve", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "--open" in done.stderr
    assert "FANWISE_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
