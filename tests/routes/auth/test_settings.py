"""Settings of access that contradict each other are refused, with a word about what to do."""

from __future__ import annotations

from typing import Any

import pytest

from fanwise.app import create_app
from fanwise.errors import SettingsError
from fanwise.serve import _secrets, check_settings
from fanwise.settings import load_settings

SECRET = "a secret of thirty-two bytes....."


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"read": "key"}, "no key has the role read"),
        ({"read": "key", "api_key": "publish:correct-horse"}, "no key has the role read"),
        ({"read": "token"}, "there is no key of tokens"),
        ({"read": "all"}, "'open', 'key' or 'token'"),
        ({"token_audience": "chat"}, "there is no key of tokens, which other settings are about"),
        ({"token_key": SECRET, "token_jwks": "keys.json"}, "there are 2 keys of tokens"),
        ({"token_key": SECRET, "token_algorithms": "HS512"}, "'HS256', 'RS256', 'ES256' or 'EdDSA'"),
        ({"token_key": SECRET, "token_leeway_seconds": "31"}, "less than or equal to 30"),
        ({"api_key": "short"}, "8 to 255 letters"),
        ({"api_key": "dance:correct-horse"}, "some of publish, operate, read"),
    ],
)
def test_contradictions(given: dict[str, str], why: str) -> None:
    """The error quotes no secret."""
    with pytest.raises(SettingsError, match=why) as error:
        load_settings(**given)
    assert SECRET not in str(error.value)
    assert "correct-horse" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"token_key": "short"}, "at least 32 bytes"),
        ({"token_key": SECRET, "token_algorithms": "RS256"}, "the key is for HS256"),
        ({"token_key_file": "/nowhere"}, "No such file"),
        ({"token_jwks": "http://id.example/keys"}, "https"),
    ],
)
def test_keys_that_cannot_be_used(given: dict[str, str], why: str) -> None:
    """The server does not start."""
    with pytest.raises(SettingsError, match=why):
        check_settings(load_settings(**given))
    with pytest.raises(SettingsError, match=why):
        create_app(load_settings(**given))


def test_secrets_of_access_are_kept() -> None:
    """From what is printed, and from the log."""
    settings = load_settings(api_key="correct-horse,publish:battery-staple", token_key=SECRET)
    assert not any(secret in repr(settings) for secret in ("correct-horse", "battery-staple", SECRET))
    assert {"correct-horse", "battery-staple", SECRET} <= set(_secrets(settings))


@pytest.mark.parametrize(
    ("given", "publishing"), [({}, "open"), ({"api_key": "correct-horse"}, "key"), ({"token_key": SECRET}, "token")]
)
def test_an_address_that_others_reach(given: dict[str, Any], publishing: str) -> None:
    """Tokens keep strangers from publishing as a key does."""
    settings = load_settings(host="0.0.0.0", **given)
    assert settings.publishing == publishing
    if publishing == "open":
        with pytest.raises(SettingsError, match="FANWISE_TOKEN_JWKS"):
            check_settings(settings)
    else:
        check_settings(settings)


def test_the_token_of_a_client_is_no_setting_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fanwise publish` reads it, in the same environment perhaps."""
    monkeypatch.setenv("FANWISE_TOKEN", "hidden")
    assert not load_settings().takes_tokens
