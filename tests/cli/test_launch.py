from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fanwise.cli import launch as module
from fanwise.cli.launch import launch, worker_command, workers_banner
from fanwise.errors import SettingsError
from fanwise.settings import load_settings


def test_a_worker_is_given_the_flags_of_its_launcher() -> None:
    """But for those that the launcher says itself; variables and `.env` are the worker's to read."""
    flags: dict[str, str | bool | None] = {
        "workers": "4",
        "port": "0",
        "host": "::1",
        "demo": True,
        "rate_limits": False,
        "trace": None,
        "open": None,
    }
    assert worker_command(flags, port=8123, backplane="unix:///x/s") == [
        sys.executable, "-m", "fanwise", "serve", "--host", "::1", "--demo", "--no-rate-limits",
        "--workers", "1", "--port", "8123", "--backplane", "unix:///x/s",
    ]  # fmt: skip
    assert worker_command({"backplane": "redis://one"}, port=1, backplane=None)[4:] == [
        "--backplane", "redis://one", "--workers", "1", "--port", "1",
    ]  # fmt: skip


def test_the_banner_has_what_all_workers_have_together() -> None:
    """Limits are those of one worker; an operator sizes a machine by their product."""
    settings = load_settings(workers="4", max_clients="1000", memory_bytes="100000000")
    private, shared = (workers_banner(settings, engine=engine) for engine in ("/usr/bin/valkey-server", None))
    assert private == [
        "  workers    4, each with these limits: together 4000 clients and 400000000 bytes",
        "  backplane  private valkey-server, at most 100000000 bytes",
    ]
    assert shared == private[:1], "the banner of a server names its backplane"


def test_workers_write_no_trace_together(tmp_path: Path) -> None:
    """They would write over each other."""
    with pytest.raises(SettingsError, match=r"FANWISE_TRACE \(--trace\): several workers cannot write one trace"):
        launch(load_settings(workers="2", trace=str(tmp_path / "trace")), {})


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that has it."""
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install 'fanwise\[workers\]'"):
        launch(load_settings(workers="2"), {})
