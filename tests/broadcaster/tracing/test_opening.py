from __future__ import annotations

import sys

import pytest

from fanwise import Broadcaster, SettingsError

from ...support.processes import run

OURS = ("fanwise.broadcaster.tracing.spans", "fanwise.routes.tracing", "opentelemetry.sdk")  # FastAPI imports others
LOADED = f"import sys; print([name for name in {OURS} if name in sys.modules])"


def test_nothing_is_imported_that_was_not_asked_for() -> None:
    """A whole server without tracing has neither what makes spans nor the SDK."""
    made = "from fanwise.app import create_app; from fanwise.settings import Settings; create_app(Settings())"
    assert run("-c", f"{made}; {LOADED}").stdout.strip() == "[]"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is asked for, in place of an ImportError from somewhere inside."""
    monkeypatch.delitem(sys.modules, "fanwise.broadcaster.tracing.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(SettingsError, match=r"install fanwise\[otel\]"):
        Broadcaster(tracing=True)
    Broadcaster()
