"""The demo's story against a real server, from the click to the end: what is shown of it, and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ..support.processes import ServerProcess
from ..support.screen import EXPECTED, Screen

if TYPE_CHECKING:
    from playwright.sync_api import ViewportSize

Serve = Callable[..., ServerProcess]
# What must be in view, and where it stands.
PLACES = """() => {
    const parts = ["#demo-button", "#demo-steps", "#demo-story", ".keys-of-cells"];
    for (const mode of ["tutorial", "fanwise"]) {
        for (const part of ["h3", ".count", ".cells", "canvas", ".one-says"]) parts.push(`#side-${mode} ${part}`);
    }
    return parts.map((part) => {
        const {left, top, right, bottom} = document.querySelector(part).getBoundingClientRect();
        return [part, ...[left, top, right, bottom].map((one) => Math.round(one * 10) / 10)];
    });
}"""
CLIPPED = """() => [...document.querySelectorAll(".side > *, #demo-story, #demo-steps li")]
    .filter((one) => one.checkVisibility() && one.tagName !== "CANVAS")
    .filter((one) => one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.textContent)"""
MOMENTS = {
    "calm": "() => parseInt(document.querySelector('#side-tutorial .value').textContent) > 500",
    "stopped": "() => document.querySelector('#side-fanwise .cell.one').classList.contains('stopped')",
    "frozen": "() => document.querySelector('#side-tutorial').classList.contains('frozen')",
    "dropped": "() => document.querySelector('#side-fanwise .cell.one').classList.contains('dropped')",
    "back": "() => document.querySelector('#side-fanwise .cell.one').classList.contains('back')",
    "over": "() => document.querySelector('#demo-button').textContent === 'Play again'",
}
SIZES: dict[str, ViewportSize] = {
    "wide": {"width": 1280, "height": 900},
    "middle": {"width": 880, "height": 900},
    "tablet": {"width": 768, "height": 1024},
    "narrow": {"width": 390, "height": 844},
}
ON_PAGES = [("/", "wide"), ("/", "narrow"), ("/demo", "middle"), ("/demo", "tablet"), ("/demo", "narrow")]


def state(server: ServerProcess) -> dict[str, Any] | None:
    found: dict[str, Any] = json.loads(server.get("/demo").partition(b"\r\n\r\n")[2])
    status: dict[str, Any] | None = found["status"]
    return status


@pytest.mark.slow
@pytest.mark.parametrize(("path", "name"), ON_PAGES)
def test_the_story_stays_in_view(screen: Screen, serve: Serve, path: str, name: str) -> None:
    """One click, and until its end nothing moves, scrolls or is cut off; the two sides are told apart."""
    server, size = serve(), SIZES[name]
    screen.page.set_viewport_size(size)
    screen.open(f"http://127.0.0.1:{server.port}{path}")
    screen.shows("#connection", "live")
    before = screen.do(PLACES)
    for part, left, top, right, bottom in before:
        assert 0 <= left < right <= size["width"], part
        assert 0 <= top < bottom <= size["height"], part
    screen.page.click("#demo-button")
    for moment, condition in MOMENTS.items():
        screen.until(condition)
        assert screen.do(PLACES) == before, moment
        assert screen.do(CLIPPED) == [], moment
        assert screen.do("() => [scrollX, scrollY]") == [0, 0], moment
        assert screen.do("() => document.documentElement.scrollWidth") == size["width"], moment
    assert screen.text("#side-tutorial .count").startswith("0/s for ")
    assert screen.is_seen("#side-tutorial.frozen")
    assert screen.is_seen("#side-fanwise.flowing")
    assert "24 of 24 served" in screen.text("#side-fanwise .count")
    assert "retained messages received, nothing lost." in screen.text("#side-fanwise .one-says")
    assert "messages wait for it." in screen.text("#side-tutorial .one-says")
    assert "the loop kept 24 others waiting for" in screen.text("#demo-story")
    assert screen.do("() => document.querySelector('.whole').checkVisibility()") is (path == "/demo")
    assert screen.is_seen("#overview") is (path == "/")
    assert state(server) is None
    screen.assert_clean()


def test_a_second_press_joins_the_story(screen: Screen, serve: Serve) -> None:
    """Of somebody else, on another page: both see one story, and either stops it for both."""
    server = serve()
    url = f"http://127.0.0.1:{server.port}"
    screen.open(f"{url}/")
    screen.page.click("#demo-button")
    screen.until(MOMENTS["calm"])
    first = state(server)
    other = Screen(screen.page.context)
    try:
        other.page.route("**/demo", lambda route: route.abort() if route.request.method == "GET" else route.continue_())
        other.page.goto(f"{url}/?other")
        other.shows("#demo-button", "Stop")  # it has heard of the story
        other.do("async () => (await fetch('/demo', {method: 'PUT', body: '{\"clients\": 3}'})).status")
        second = state(server)
        assert first is not None
        assert second is not None
        assert second["seconds"] > first["seconds"]
        assert len(second["sides"]["fanwise"]["clients"]) == 24
        other.page.click("#demo-button")
        for one in (screen, other):
            one.shows("#demo-story", "The story was stopped before its end.")
        assert state(server) is None
    finally:
        other.page.close()


def test_a_page_that_leaves_does_not_keep_the_story(screen: Screen, serve: Serve) -> None:
    """It goes on without the page, and who opens another one sees it."""
    server = serve()
    url = f"http://127.0.0.1:{server.port}/"
    screen.open(url)
    screen.page.click("#demo-button")
    screen.until(MOMENTS["stopped"])
    screen.page.goto("about:blank")
    assert state(server) is not None
    screen.open(url)
    screen.shows("#demo-button", "Stop")
    screen.until(MOMENTS["dropped"])
    screen.page.click("#demo-button")
    screen.shows("#demo-button", "Play again")
    screen.assert_clean()


def test_the_demo_alone_without_the_key(screen: Screen, serve: Serve) -> None:
    """The page asks for it, and plays the story with it: the clients listen by the same key."""
    server = serve(FANWISE_API_KEY="correct-horse")
    screen.page.goto(f"http://127.0.0.1:{server.port}/demo")
    screen.shows("#demo-why", "This server asks for its key")
    screen.page.fill("#key", "correct-horse")
    screen.page.press("#key", "Enter")
    screen.until("() => !document.querySelector('#demo-here').hidden")
    screen.page.click("#demo-button")
    screen.until(MOMENTS["calm"])
    screen.page.click("#demo-button")
    screen.shows("#demo-button", "Play again")
    screen.assert_clean(*EXPECTED)


def test_the_demo_below_a_root_path(screen: Screen, serve: Serve) -> None:
    """Alone, with all that it loads and asks for; a link leads to the whole page."""
    server = serve(FANWISE_ROOT_PATH="/deep/down")
    screen.open(f"http://127.0.0.1:{server.port}/deep/down/demo")
    screen.page.click("#demo-button")
    screen.until(MOMENTS["calm"])
    screen.page.click("#demo-button")
    screen.shows("#demo-button", "Play again")
    screen.page.click(".whole")
    screen.until("() => document.querySelector('#overview')?.checkVisibility()")
    assert screen.page.url == f"http://127.0.0.1:{server.port}/deep/down/"
    screen.assert_clean()


def test_the_demo_of_several_workers(screen: Screen, serve: Serve) -> None:
    """It is not offered, and the page says why."""
    server = serve(FANWISE_WORKERS="2")
    screen.page.goto(f"http://127.0.0.1:{server.port}/demo")
    screen.shows("#demo-why", "its clients could reach another of this server's workers")
    assert not screen.is_seen("#demo-button")


def test_the_demo_behind_a_proxy(screen: Screen, serve: Serve) -> None:
    """It is not offered, and the page says why, and what to do."""
    server = serve()
    screen.page.set_extra_http_headers({"X-Forwarded-For": "192.0.2.7"})
    try:
        screen.page.goto(f"http://127.0.0.1:{server.port}/demo")
        screen.shows("#demo-why", "There is no demo here: a proxy has passed this request on")
        assert "--demo" in screen.text("#demo-why")
        assert not screen.is_seen("#demo-button")
    finally:
        screen.page.set_extra_http_headers({})
