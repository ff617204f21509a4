"""Fixtures: servers that are real processes, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .support.processes import ServerProcess

pytest_plugins = ["tests.support.plugin"]

COMMAND = ("-m", "fanwise", "serve", "--port", "{port}")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def server_process() -> Iterator[Callable[..., ServerProcess]]:
    """Starts server processes that end with the test: `server_process(["-m", "fanwise", "serve", ...])`."""
    running: list[ServerProcess] = []

    def start(*args: str, port: int | None = None, whole: bool = False, **environ: str) -> ServerProcess:
        running.append(ServerProcess(*args, port=port, whole=whole, **environ))
        return running[-1]

    yield start
    for process in running:
        process.close()


@pytest.fixture
def serve(server_process: Callable[..., ServerProcess]) -> Callable[..., ServerProcess]:
    """Starts a server that goes through something: `serve(port)`."""

    def start(port: int | None = None, **environ: str) -> ServerProcess:
        return server_process(*COMMAND, port=port, FANWISE_DRAIN_SECONDS="1", **environ)

    return start


@pytest.fixture(scope="module")  # while Playwright runs, the thread has a running loop: no async test may follow
def browser() -> Iterator[Any]:
    """A Chromium without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="drives the browser: pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=QUIET)
        yield browser
        browser.close()
