"""One browser for all that runs in one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

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
