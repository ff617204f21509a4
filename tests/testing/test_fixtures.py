"""The plugin in a project of a user's: fixtures, overridden ones, coroutines, and failures that say what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

from ..support.processes import ROOT, run

DOCUMENT = ROOT / "docs" / "testing.md"

CONFTEST = """
from fanwise.testing import Server  # before pytest imports the plugin
pytest_plugins = ["fanwise.testing"]
"""
INI = """
[pytest]
addopts = --strict-markers -p no:cacheprovider -p anyio
filterwarnings =
    error
    ignore:Module already imported so cannot be rewritten; anyio:pytest.PytestAssertRewriteWarning
"""
TESTS = """
import asyncio

import pytest
from fastapi import FastAPI, WebSocket
from fanwise import Broadcaster


@pytest.fixture
def app(broadcaster):
    app = FastAPI(lifespan=broadcaster.lifespan)

    @app.websocket("/rooms/{room}")
    async def endpoint(websocket: WebSocket, room: str) -> None:
        await broadcaster.serve(websocket, channels=[room])

    return app


pytestmark = pytest.mark.broadcaster(queue_messages=50)


@pytest.mark.broadcaster(queue_bytes=10_000)
def test_function(broadcaster, fanwise_server, slow_client, pausing_client, vanishing_client, burst_publisher,
                  assert_dropped, reading_client):
    assert (broadcaster.queue_messages, broadcaster.queue_bytes) == (50, 10_000)
    slow, reading = slow_client("/rooms/red", rate=100), reading_client("/rooms/red")
    vanishing_client("/rooms/red")
    texts = burst_publisher(500, size=2000, channel="red")
    assert reading.wait_for(500) == texts
    assert_dropped(within_seconds=20, cause="slow")


@pytest.mark.anyio
async def test_coroutine(broadcaster, stalled_client, assert_isolated):
    stalled_client("/rooms/red")
    await asyncio.to_thread(assert_isolated, "/rooms/red", p99_ms=5000, publications=20)


def test_fails(stalled_client, assert_dropped):
    stalled_client("/rooms/red")
    assert_dropped(within_seconds=0.1, cause="slow")
"""


def test_a_project_of_its_own(tmp_path: Path) -> None:
    """Where warnings are errors; the failure ends at the user's own line. The first test of the document passes too."""
    _, documented, *_ = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "test_documented.py").write_text(documented.replace("p99_ms=200", "p99_ms=5000"))
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "test_it.py").write_text(TESTS)
    done = run("-m", "pytest", "-q", str(tmp_path), cwd=tmp_path, environ={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert '>       assert_dropped(within_seconds=0.1, cause="slow")' in done.stdout
    assert "was not dropped within 0.1 s: on red it is up to date, by 0 publications" in done.stdout
    assert "fanwise/testing" not in done.stdout


def test_the_package_imports_no_pytest() -> None:
    """Only `fanwise.testing` does."""
    code = "import sys, fanwise; fanwise.Broadcaster; sys.exit('pytest' in sys.modules)"
    assert run("-c", code).returncode == 0
