from __future__ import annotations

import pytest

import server.app
from server.app import create_app
from server.errors import SettingsError
from server.settings import load_settings


def test_settings_reach_what_they_set() -> None:
    """What is set for the application is in force in its broadcaster."""
    settings = load_settings(queue_messages="7", queue_bytes="100000", max_message_bytes="99999", max_clients="3")
    broadcaster = create_app(settings).state.broadcaster
    assert (broadcaster._hub.queue_messages, broadcaster._hub.queue_bytes) == (7, 100_000)
    assert (broadcaster.max_message_bytes, broadcaster.max_clients) == (99_999, 3)


def test_every_default_of_the_settings_is_that_of_the_broadcaster() -> None:
    """An embedded broadcaster behaves like a served one."""
    embedded, served = server.Broadcaster(), create_app(load_settings()).state.broadcaster
    for name, value in vars(embedded).items():
        if isinstance(value, int | float):
            assert getattr(served, name) == value
    assert vars(embedded._hub).keys() == vars(served._hub).keys()
    for name, value in vars(embedded._hub).items():
        if isinstance(value, int | float):
            assert getattr(served._hub, name) == value


def test_the_environment_is_read_when_the_application_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the module reads nothing; `server.app:app` does, once."""
    monkeypatch.setenv("FANWISE_PORT", "http")
    with pytest.raises(SettingsError):
        _ = server.app.app
    monkeypatch.delenv("FANWISE_PORT")
    assert server.app.app is server.app.app
    with pytest.raises(AttributeError):
        _ = server.app.application
