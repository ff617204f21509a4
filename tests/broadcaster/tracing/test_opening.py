from __future__ import annotations

import sys

import pytest

from fanwise import Broadcaster, SettingsError

from ...support.processes import run

LOADED = "import sys; print([name for name in sys.modules if name.partition('.')[0] == 'opentelemetry'])"


def test_nothing_is_imported_that_was_not_asked_for() -> None:
    """A whole server without tracing knows nothing of OpenTelemetry."""
    made = "from fanwise.app import create_app; from fanwise.settings import Settings; create_app(Settings())"
    assert run("-c", f"{made}; {LOADED}").stdout.strip() == "[]"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is asked for, in place of an ImportError from somewhere inside."""
    monkeypatch.delitem(sys.modules, "fanwise.broadcaster.tracing.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(SettingsError, match=r"install fanwise\[otel\]"):
        Broadcaster(tracing=True)
    Broadcaster()
