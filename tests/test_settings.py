from __future__ import annotations

import math
from pathlib import Path

import pytest

from fanwise import ChannelOptions
from fanwise.errors import SettingsError
from fanwise.settings import Settings, flag, load_settings, sources, variable


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env` but the test's own."""
    monkeypatch.chdir(tmp_path)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag, variable, .env, default: in this order."""
    (tmp_path / ".env").write_text("FANWISE_PORT=1\nFANWISE_HOST=file\nFANWISE_LOG_LEVEL=debug\nOTHER=1\n")
    monkeypatch.setenv("FANWISE_PORT", "2")
    monkeypatch.setenv("FANWISE_HOST", "environment")
    settings = load_settings(port="3", queue_bytes=None)
    assert (settings.port, settings.host, settings.log_level) == (3, "environment", "debug")
    assert settings.queue_bytes == Settings.model_fields["queue_bytes"].default


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("FANWISE_PORT", "99999", "65535"),
        ("FANWISE_PORT", "http", "'http'"),
        ("FANWISE_QUEUE_MESSAGES", "0", "greater than or equal to 1"),
        ("FANWISE_OVERFLOW", "explode", "'disconnect'"),
        ("FANWISE_DEFAULT_CHANNEL", "no good", "1 to 255 characters"),
        ("FANWISE_TEMPLATE", "nothing", "{text}"),
        ("FANWISE_SWEEP_SECONDS", "2", "less than or equal to 1"),
        ("FANWISE_DEMO_CLIENTS", "1001", "less than or equal to 1000"),
        ("FANWISE_ALLOWED_ORIGINS", "https://a.example,b.example", "'b.example' is not an origin"),
        ("FANWISE_OPEN", "perhaps", "boolean"),
        ("FANWISE_BACKPLANE", "http://h", "its scheme is none of redis"),
        ("FANWISE_BACKPLANE", " ", "the backplane is empty"),
        ("FANWISE_BACKPLANE_PREFIX", "a{b", "1 to 64 characters"),
        ("FANWISE_BACKPLANE_REPLICAS", "-1", "greater than or equal to 0"),
        ("FANWISE_BACKPLANE_LIVE_BYTES", "1", "greater than or equal to 65536"),
        ("FANWISE_PUBLISH_SECONDS", "0", "greater than 0"),
    ],
)
def test_a_value_out_of_range_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    """With what is allowed."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (problem,) = caught.value.problems
    assert name in problem
    assert says in problem


def test_a_message_must_fit_into_a_queue() -> None:
    """Two settings that contradict each other are both named."""
    with pytest.raises(SettingsError, match="max_message_bytes=65536 does not fit into queue_bytes=1000"):
        load_settings(queue_bytes="1000")


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """Before a server, or several workers, start with them."""
    file = tmp_path / "cert.pem"
    file.write_text("no certificate")
    for given in ({"ssl_certfile": "/nonexistent"}, {"ssl_certfile": str(file)}, {"ssl_keyfile": str(file)}):
        with pytest.raises(SettingsError, match=r"^(ssl_certfile='|FANWISE_SSL_KEYFILE needs)"):
            load_settings(**given)


def test_unknown_variables_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, wherever it is set, with the one that was probably meant."""
    (tmp_path / ".env").write_text("FANWISE_QUEUE_BYTE=5\n")
    monkeypatch.setenv("FANWISE_XYZZY", "1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert len(caught.value.problems) == 2
    assert "FANWISE_QUEUE_BYTE is not a setting: did you mean FANWISE_QUEUE_BYTES?" in caught.value.problems
    assert any("FANWISE_XYZZY is not a setting: known are" in problem for problem in caught.value.problems)


def test_names() -> None:
    """One name in three spellings."""
    assert (variable("queue_bytes"), flag("queue_bytes")) == ("FANWISE_QUEUE_BYTES", "--queue-bytes")


def test_every_setting_is_described() -> None:
    """The descriptions are the help."""
    assert all(field.description for field in Settings.model_fields.values())


def test_origins_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As people write lists in variables; each is an origin, or all are allowed."""
    monkeypatch.setenv("FANWISE_ALLOWED_ORIGINS", "https://a.example, http://b.example:8080")
    assert load_settings().allowed_origins == ("https://a.example", "http://b.example:8080")
    assert load_settings(allowed_origins="*").allowed_origins == ("*",)


def test_hosts_and_proxies_are_lists_with_commas() -> None:
    """Names, addresses and networks without ports; proxies are no names, which could lead anywhere."""
    settings = load_settings(allowed_hosts="example.com, [::1],10.0.0.0/8,*", trusted_proxies="10.0.0.1, 10.1.0.0/16")
    assert settings.allowed_hosts == ("example.com", "[::1]", "10.0.0.0/8", "*")
    assert settings.trusted_proxies == ("10.0.0.1", "10.1.0.0/16")
    for wrong in ("example.com:80", "http://example.com", "a b"):
        with pytest.raises(SettingsError, match=r"FANWISE_ALLOWED_HOSTS.* is no host: it looks like example\.com"):
            load_settings(allowed_hosts=wrong)
    with pytest.raises(SettingsError, match=r"FANWISE_TRUSTED_PROXIES.*'proxy\.example'"):
        load_settings(trusted_proxies="proxy.example")


@pytest.mark.parametrize(
    "key", ["short", "a" * 256, "correct horse", "cor\"rect'horse", "=correct", "cor=rect", "grüße-123", "correct\n"]
)
def test_a_key_is_a_token_of_rfc_6750(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """8 to 255 letters, digits and -._~+/, and = at its end; others are refused."""
    monkeypatch.setenv("FANWISE_API_KEY", key)
    with pytest.raises(SettingsError, match="a key takes 8 to 255 letters"):
        load_settings()
    monkeypatch.setenv("FANWISE_API_KEY", "AZaz09-._~+/==")
    assert load_settings().api_key is not None


def test_a_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the error about it nor when settings are printed."""
    monkeypatch.setenv("FANWISE_API_KEY", "sh rt secret")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "FANWISE_API_KEY" in str(caught.value)
    assert "8 to 255 letters" in str(caught.value)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("FANWISE_API_KEY", "long-enough-secret")
    assert "long-enough-secret" not in repr(load_settings())
    monkeypatch.setenv("FANWISE_BACKPLANE", "redis://:hidden@h:6379")
    assert "hidden" not in repr(load_settings())
    monkeypatch.setenv("FANWISE_BACKPLANE", "redis://:hidden@h:6379/7")
    with pytest.raises(SettingsError, match="only database 0 is used") as caught:
        load_settings()
    assert "hidden" not in str(caught.value)
    monkeypatch.setenv("FANWISE_BACKPLANE", "")
    assert load_settings().backplane is None


def test_every_value_has_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first place in the order that has a value; a name without a value in `.env` is none."""
    (tmp_path / ".env").write_text("FANWISE_PORT=1\nfanwise_host=file\nFANWISE_LOOP\n")
    monkeypatch.setenv("fanwise_port", "2")
    monkeypatch.setenv("FANWISE_QUEUE_BYTES", "70000")
    found = sources(queue_bytes="80000", log_level=None)
    assert (found["queue_bytes"], found["port"], found["host"]) == ("flag", "environment", ".env")
    assert found["loop"] == found["log_level"] == "default"
    assert load_settings(queue_bytes="80000").port == 2


OPTIONS = """
queue_messages = 7
port = 5
[channels."cursor.*"]
overflow = "latest"
forgive_seconds = inf
[channels.lobby]
history_messages = 0
"""


def test_a_file_of_toml_has_settings_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else wins over the file; its path comes from a flag, a variable or .env."""
    (tmp_path / "fanwise.toml").write_text(OPTIONS)
    monkeypatch.setenv("FANWISE_PORT", "6")
    settings = load_settings(config="fanwise.toml")
    assert (settings.queue_messages, settings.port) == (7, 6)
    cursors = ChannelOptions(overflow="latest", forgive_seconds=math.inf)
    assert settings.channels == {"cursor.*": cursors, "lobby": ChannelOptions(history_messages=0)}
    assert list(settings.channels) == ["cursor.*", "lobby"]
    (tmp_path / ".env").write_text("FANWISE_CONFIG=fanwise.toml\n")
    assert load_settings().channels == settings.channels
    found = sources()
    assert (found["queue_messages"], found["channels"], found["port"]) == (
        "fanwise.toml",
        "fanwise.toml",
        "environment",
    )
    assert load_settings(channels='{"a": {"presence": false}}').channels == {"a": ChannelOptions(presence=False)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("queue_mesages = 7", "'queue_mesages' in c.toml is not a setting: did you mean queue_messages?"),
        ("zzz = 7", "known are address_connections"),
        ('config = "other.toml"', "'config' in c.toml is not a setting"),
        ("port = 99999", "port in c.toml is 99999: Input should be less than"),
        ("port = ", "Invalid value (at end of document)"),
        ("port = '\xff'", "can't decode byte 0xff"),
        ("channels = 3", "it takes an object"),
        ("[channels.cursor.x]\npresence = true", 'a pattern with dots takes quotes, as in [channels."cursor.*"]'),
        ("[channels.a]\noverflows = 'latest'", "channels 'a': 'overflows' is no option: did you mean overflow?"),
        ("[channels.a]\nqueue_bytes = 5", "channels 'a': max_message_bytes=65536 does not fit into queue_bytes=5"),
        ("[channels.a]\nqueue_bytes = 600_000_000", "memory_bytes=1073741824 is less than the 1200000000"),
        ('[channels."*"]\n[channels.a]', "pattern 'a' is never reached: '*' stands before it"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    """With what is allowed, and where it stands."""
    (tmp_path / "c.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError) as caught:
        load_settings(config="c.toml")
    assert says in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    """A server without the options that it is thought to have would be worse than none."""
    with pytest.raises(SettingsError, match=r"FANWISE_CONFIG \(--config\) is 'c.toml': there is no such file"):
        load_settings(config="c.toml")
    with pytest.raises(SettingsError, match="it is not JSON"):
        load_settings(channels="{")
