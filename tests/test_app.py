from __future__ import annotations

import pytest

import fanwise.app
from fanwise.app import create_app
from fanwise.errors import SettingsError
from fanwise.settings import load_settings


def test_settings_reach_what_they_set() -> None:
    """What is set for the application is in force in its broadcaster."""
    settings = load_settings(queue_messages="7", queue_bytes="100000", max_message_bytes="99999", max_clients="3")
    broadcaster = create_app(settings).state.broadcaster
    assert (broadcaster._hub.queue_messages, broadcaster._hub.queue_bytes) == (7, 100_000)
    assert (broadcaster.max_message_bytes, broadcaster.max_clients) == (99_999, 3)


def test_every_default_of_the_settings_is_that_of_the_broadcaster() -> None:
    """An embedded broadcaster behaves like a served one."""
    embedded, served = fanwise.Broadcaster(), create_app(load_settings()).state.broadcaster
    for name, value in vars(embedded).items():
        if isinstance(value, int | float):
            assert getattr(served, name) == value
    assert vars(embedded._hub).keys() == vars(served._hub).keys()
    for name, value in vars(embedded._hub).items():
        if isinstance(value, int | float):
            assert getattr(served._hub, name) == value


def test_the_environment_is_read_when_the_application_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the module reads nothing; `fanwise.app:app` does, once."""
    monkeypatch.setenv("FANWISE_PORT", "http")
    with pytest.raises(SettingsError):
        _ = fanwise.app.app
    monkeypatch.delenv("FANWISE_PORT")
    assert fanwise.app.app is fanwise.app.app
    with pytest.raises(AttributeError):
        _ = fanwise.app.application
