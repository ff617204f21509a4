"""The live page as axe sees it (https://github.com/dequelabs/axe-core), in each of its states, widths and colours.

The variable AXE has the path of its file: `tox -e axe` gets one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..support.processes import ServerProcess
from ..support.screen import WIDE, Screen
from ..support.staged import NOON, Staged, frozen, past_point

AXE = Path(os.environ.get("AXE", ""))
FOUND = """async () => {
    const {violations} = await axe.run(document, {resultTypes: ["violations"]});
    return violations.filter(({impact}) => impact !== "minor").map(({impact, id, nodes}) =>
        [impact, id, nodes.map(({target}) => target.join(" ")).slice(0, 3)]);
}"""
NARROW: Any = {"width": 390, "height": 844}


@pytest.fixture
def axe() -> str:
    if not AXE.is_file():
        pytest.skip("AXE does not name axe.min.js: tox -e axe")
    return AXE.read_text()


def look(screen: Screen, axe: str) -> None:
    """Finds nothing that is serious, or moderate, in both widths and both colours."""
    for size in (WIDE, NARROW):
        screen.page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            screen.page.emulate_media(color_scheme=scheme)
            screen.do(f"() => {{ {axe} }}")
            assert screen.do(FOUND) == [], (size, scheme)


def test_idle(screen: Screen, staged: Staged, axe: str) -> None:
    """Nobody is there, and the page says how to begin."""
    staged.tick()
    staged.tick()
    screen.open(staged.url)
    screen.until("() => !document.querySelector('#drops-none').hidden")
    look(screen, axe)


def busy(screen: Screen) -> None:
    screen.rows("clients", 2)


def an_hour_that_is_paused(screen: Screen) -> None:
    busy(screen)
    screen.page.click("#range-hour")
    screen.page.click("#charts-pause")
    screen.shows("#charts-state", "Paused")
    screen.page.click("#clients-table button")
    screen.page.click("#chat-button")
    screen.shows("#chat-a .log", "connected")


@pytest.mark.parametrize("act", [busy, an_hour_that_is_paused])
def test_under_load(screen: Screen, staged: Staged, axe: str, act: Callable[[Screen], None]) -> None:
    """Each part of the page has something in it."""
    staged.busy()
    staged.demo["status"] = frozen("stopped", 4.0)
    staged.past["points"] = [past_point(NOON - 12), past_point(NOON)]
    screen.open(staged.url)
    act(screen)
    look(screen, axe)


def test_lost(screen: Screen, axe: str) -> None:
    """The server is away."""
    with Staged() as staged:
        staged.busy()
        screen.open(staged.url)
        screen.rows("clients", 2)
    screen.shows("#connection", "lost")
    look(screen, axe)


def test_without_the_key(screen: Screen, axe: str) -> None:
    """The page asks for it, and says that another one is wrong."""
    with Staged(api_key="correct-horse") as staged:
        screen.page.goto(staged.url)
        screen.until("() => document.activeElement.id === 'key'")
        look(screen, axe)
        screen.page.keyboard.type("wrong-horse")
        screen.page.keyboard.press("Enter")
        screen.shows("#key-problem", "That is not this server's key.")
        look(screen, axe)


def test_the_demo_alone(screen: Screen, serve: Callable[..., ServerProcess], axe: str) -> None:
    """Before its story, and in it."""
    screen.open(f"http://127.0.0.1:{serve().port}/demo")
    screen.until("() => document.querySelector('#demo-button').checkVisibility()")
    look(screen, axe)
    screen.page.click("#demo-button")
    screen.shows("#demo-button", "Stop")
    look(screen, axe)
