from __future__ import annotations

import json
from pathlib import Path

import pytest

from fanwise.cli.config import NOT_SET, shown
from fanwise.settings import Settings, variable

from ..support.commands import fanwise

KEY = "a-key-of-this-test"


def columns(stdout: str) -> dict[str, tuple[str, str]]:
    """{variable: (value, source)} of the printed lines."""
    rows = (line.split("  ") for line in stdout.splitlines())
    return {row[0]: (" ".join(row[1:-1]).strip(), row[-1].strip()) for row in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a `.env`: two values, one of which the environment has as well, and a name without a value."""
    (tmp_path / ".env").write_text("FANWISE_HOST=file\nFANWISE_PORT=1\nFANWISE_LOOP\n")
    return tmp_path


def test_every_setting_is_printed_with_its_source(folder: Path) -> None:
    """Flag, environment, .env and default: the source is where the value in force stands."""
    done = fanwise(
        "config", "--queue-messages", "5", "--open", cwd=folder, FANWISE_PORT="2", FANWISE_QUEUE_MESSAGES="6"
    )
    found = columns(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(found) == [variable(name) for name in Settings.model_fields]
    assert found["FANWISE_HOST"] == ("file", ".env")
    assert found["FANWISE_PORT"] == ("2", "environment")
    assert found["FANWISE_QUEUE_MESSAGES"] == ("5", "flag")
    assert found["FANWISE_OPEN"] == ("true", "flag")
    assert found["FANWISE_LOOP"] == ("auto", "default")
    assert found["FANWISE_API_KEY"] == (NOT_SET, "default")


def test_json_has_values_and_sources(folder: Path) -> None:
    """The values have the types of the settings."""
    done = fanwise(
        "config", "--json", "--open", cwd=folder, FANWISE_ALLOWED_ORIGINS="https://a.example,https://b.example"
    )
    found = json.loads(done.stdout)
    assert list(found) == list(Settings.model_fields)
    assert found["port"] == {"value": 1, "source": ".env"}
    assert found["allowed_origins"] == {"value": ["https://a.example", "https://b.example"], "source": "environment"}
    assert found["api_key"] == {"value": None, "source": "default"}


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_a_secret_is_masked(how: list[str], tmp_path: Path) -> None:
    """From a flag, a variable and a file alike."""
    (tmp_path / ".env").write_text(f"FANWISE_API_KEY={KEY}\n")
    for done in (
        fanwise("config", *how, "--api-key", KEY),
        fanwise("config", *how, FANWISE_API_KEY=KEY),
        fanwise("config", *how, cwd=tmp_path),
    ):
        assert done.returncode == 0
        assert "**********" in done.stdout
        assert KEY not in done.stdout + done.stderr


def test_a_setting_that_cannot_be_used() -> None:
    """Status 2 and the line that `fanwise serve` prints."""
    done = fanwise("config", FANWISE_PORT="http")
    assert (done.returncode, done.stdout) == (2, "")
    assert "fanwise config: FANWISE_PORT (--port) is 'http'" in done.stderr


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_settings_that_the_server_refuses(how: list[str]) -> None:
    """Status and error of `fanwise serve`, and nothing that looks like settings in force."""
    done = fanwise("config", *how, FANWISE_HOST="0.0.0.0")
    served = fanwise("serve", FANWISE_HOST="0.0.0.0")
    assert (done.returncode, done.stdout) == (served.returncode, "") == (2, "")
    assert "which others can reach, and everybody could publish" in done.stderr
    assert done.stderr.replace("fanwise config: ", "fanwise serve: ") == served.stderr


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, NOT_SET), ([], NOT_SET), (["a", "b"], "a,b"), (0.5, "0.5"), ("", "''"), ("a\nb", "a\\nb")],
)
def test_a_value_is_one_column_of_one_line(value: object, text: str) -> None:
    """As a variable takes the value; a control character is printed as its code."""
    assert shown(value) == text


def test_options_of_channels_are_printed_in_their_order(tmp_path: Path) -> None:
    """Behind the settings, each with its pattern and the file that it stands in."""
    (tmp_path / "c.toml").write_text('[channels."b.*"]\nforgive_seconds = inf\n[channels.a]\noverflow = "latest"\n')
    done = fanwise("config", "--config", "c.toml", cwd=tmp_path)
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[-2:]] == ["channels b.*", "channels a"]
    found = columns(done.stdout)
    assert found["FANWISE_CHANNELS"] == ("2 patterns", "c.toml")
    assert found["channels b.*"] == ("forgive_seconds=inf", "c.toml")
    assert found["channels a"] == ('overflow="latest"', "c.toml")
    told = json.loads(fanwise("config", "--config", "c.toml", "--json", cwd=tmp_path).stdout)
    assert told["channels"]["value"]["a"] == {"overflow": "latest"}
