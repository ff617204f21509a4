"""The pages that the documents show, in a real browser and on a real server."""

from __future__ import annotations

import pytest

from ..conftest import COMMAND
from ..support.processes import ServerProcess
from ..support.screen import Screen
from ..test_docs import Block, blocks, name_of

EMPTY = "<!doctype html><meta charset=utf-8><title>page</title>"


@pytest.mark.parametrize("block", list(blocks("html")), ids=name_of)
def test_a_page_of_the_documents_shows_its_own_publication(screen: Screen, block: Block) -> None:
    """It subscribes, publishes and gets what it has published: in its console, or in its list."""
    server = ServerProcess(*COMMAND)
    try:
        said: list[str] = []
        screen.page.on("console", lambda entry: said.append(entry.text) if entry.type == "log" else None)
        screen.page.goto(f"http://127.0.0.1:{server.port}/healthz")  # of the server's own host, and with nothing in it
        screen.page.set_content(EMPTY + block.code)
        shows = "() => document.querySelector('#news')?.textContent"
        screen.until(f"() => ({shows})() !== ''")
        shown = screen.page.evaluate(shows)
        if shown is None:
            while not said:
                screen.page.wait_for_event("console")
            shown = said[0]
        assert "ello" in shown  # "Hello", or "hello"
        assert "1" in shown  # its offset
    finally:
        server.close()
