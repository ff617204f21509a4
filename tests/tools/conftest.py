"""Fixtures: servers of our own start quickly."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from fanwise.tools import local_server

from ..support import forks


@pytest.fixture(autouse=True)
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `local_server` starts is forked; a user waits for an interpreter's imports."""
    monkeypatch.setattr(local_server, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": forks.Popen}))
