"""One browser for all that runs in one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from ..support.screen import WIDE, Screen
from ..support.staged import Staged

# Chromium heeds the last such list only, so that what Playwright turns off for quiet stands here too.
UNUSED = [
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "PreloadTopChromeWebUI",
    "SpareRendererForSitePerProcess",
]
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # One process shows all pages, and the browser's own paints: a process costs more CPU than a page does.
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
    "--in-process-gpu",
    f"--disable-features={','.join(UNUSED)}",
]


@pytest.fixture(scope="package")  # while Playwright runs, the thread has a running loop: no async test may follow
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


@pytest.fixture(scope="package")
def only_screen(browser: Any) -> Iterator[Screen]:
    """A tab with nothing in it, the same one for all modules: a new one costs as much CPU as five tests."""
    with browser.new_context(viewport=WIDE, locale="en-GB", timezone_id="UTC") as context:
        yield Screen(context)


@pytest.fixture
def screen(only_screen: Screen) -> Iterator[Screen]:
    """The tab, which is left empty. Modules whose tests share one loaded page have a `screen` of their own."""
    yield only_screen
    only_screen.forget(WIDE)


@pytest.fixture(scope="module")
def only_staged() -> Iterator[Staged]:
    """The same server for all tests of a module, whose page is loaded once."""
    with Staged() as staged:
        yield staged


@pytest.fixture
def staged() -> Iterator[Staged]:
    with Staged() as staged:
        yield staged
