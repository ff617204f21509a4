"""The live page while its server is busy: what it shows, loaded once for tests that only look, and its calculations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ..support.screen import NOTHING, WIDE, Screen
from ..support.staged import Figures, Staged

ANY_NAME = re.compile(r"\S")


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    with Staged() as staged:
        staged.busy()
        yield staged


@pytest.fixture(scope="module")
def screen(only_screen: Screen, staged: Staged) -> Iterator[Screen]:
    """The page of the busy server. A test leaves it as it was."""
    only_screen.open(staged.url)
    only_screen.rows("clients", 2)
    only_screen.shows("#tile-deliveries", "2,000")
    yield only_screen
    only_screen.forget(WIDE)


def test_it_renders_and_loads_nothing_else(screen: Screen, staged: Staged) -> None:
    """No console error, no violation of its policy; every request goes to this server, and none comes to nothing."""
    screen.shows("#connection", "live")
    screen.rows("clients", 2)
    assert {url.split("/")[2] for url in screen.requests if not url.startswith("data:")} == {f"127.0.0.1:{staged.port}"}
    assert (screen.text("#version"), screen.text("#uptime")) == ("0.1.0", "up 8 s,")
    screen.assert_clean()


def test_tiles(screen: Screen) -> None:
    """Each has its value and its unit; rates are of the last second."""
    screen.shows("#tile-deliveries", "2,000")
    assert {name: screen.text(f"#tile-{name} dd") for name in ("clients", "publications", "deliveries", "drops")} == {
        "clients": "2 1 behind",
        "publications": "50.0 /s50 in all",
        "deliveries": "2,000 /s300 kB/s",
        "drops": "1 in 5 min42 messages missed",
    }
    names = ("p99", "forgiven", "lag", "memory", "retained")
    assert {name: screen.text(f"#tile-{name} dd") for name in names} == {
        "p99": "2.0 mscatching up 497 ms",
        "forgiven": "12.9 sby stall_seconds",
        "lag": "400 µsworst of 5 s",
        "memory": "52.4 MBCPU 0 %",
        "retained": "0 B2 channels",
    }


def test_charts_in_words(screen: Screen) -> None:
    """Beside each chart stand its newest values; the causes of drops have names."""
    screen.shows("#chart-deliveries .legend", "2,000 /s")
    assert screen.text("#chart-latency .legend") == "p99 2.0 msp50 1.5 msp99, catching up 497 ms"
    assert screen.text("#chart-lag .legend") == "up to date 50 %furthest behind 9 to 16clients 2"
    assert screen.text("#chart-drops .legend") == "closed: slow 30.0 /sgap: slow 12.0 /s"
    assert not screen.is_seen("#drops-none")


def test_everything_is_reached_by_keyboard(screen: Screen) -> None:
    """In the order in which it stands, beginning with the link that skips; where one is, is seen."""
    screen.rows("clients", 2)
    screen.until("() => !document.querySelector('#demo-here').hidden")
    wanted = screen.do(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
            .filter((one) => one.checkVisibility() && !(one.type === "radio" && !one.checked))
            .map((one) => one.id || one.textContent.trim() || one.name || one.ariaLabel || one.className)"""
    )
    reached = []
    for _ in wanted:
        screen.page.keyboard.press("Tab")
        name, outline, top = screen.do(
            """() => {
                const one = document.activeElement;
                const name = one.id || one.textContent.trim() || one.name || one.ariaLabel || one.className;
                return [name, getComputedStyle(one).outlineStyle, one.getBoundingClientRect().top];
            }"""
        )
        reached.append(name)
        assert outline == "solid", name
        assert top >= 0, name
    assert reached == wanted
    assert reached[0] == "Skip to the figures"
    screen.page.keyboard.press("Tab")
    screen.do("() => document.querySelector('.skip').focus()")
    screen.page.keyboard.press("Enter")
    assert screen.do("() => document.activeElement.id") == "main"


def test_what_a_screen_reader_finds(screen: Screen) -> None:
    """Landmarks, one first heading, names for everything that can be used or looked at, heads for columns and rows."""
    screen.rows("clients", 2)
    page: Any = screen.page
    page.click("#chat-button")
    page.click("#demo-numbers summary")
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role
    assert page.get_by_role("heading", level=1).count() == 1
    for role in ("button", "link", "textbox", "spinbutton", "region", "table", "img", "log"):
        everything = page.get_by_role(role)
        assert everything.count() > 0, role
        named = page.get_by_role(role, name=ANY_NAME)
        assert named.count() == everything.count(), role
    assert page.locator("thead th:not([scope=col])").count() == 0
    assert page.locator("tbody tr > :first-child:not(th[scope=row])").count() == 0
    live = page.locator("[aria-live], [role=status], [role=alert], [role=log]")
    ticking = live.locator(".value, .moment, td")
    assert ticking.count() == 0, "what changes each second is not read out"
    page.click("#chat-button")
    page.click("#demo-numbers summary")


def test_reduced_motion(screen: Screen) -> None:
    """Nothing glides for those who asked for that."""
    motions: list[tuple[Any, str]] = [("reduce", "auto"), ("no-preference", "smooth")]
    for motion, behaviour in motions:
        screen.page.emulate_media(reduced_motion=motion)
        assert screen.do("() => getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def module(screen: Screen, name: str, script: str, argument: Any = None) -> Any:
    """What a script finds out with a module of the page, `it`, which any document of the same server can load."""
    return screen.do(
        f"async (argument) => {{ const it = await import('/static/page/{name}.js'); return ({script})(argument); }}",
        argument,
    )


def test_rates_between_documents(screen: Screen) -> None:
    """Per second of the server's own time; nothing is said of documents of two processes, or in the wrong order."""
    figures = Figures()
    one = figures.tick(totals={"deliveries": 100})
    left = {"normal": 5, "lost": 5, "shutdown": 5}
    missed = {"gap_slow": 4, "closed_lost": 40}
    two = figures.tick(seconds=2.0, totals={"deliveries": 50}, dropped=missed, closed={"slow": 6, **left})
    change = module(screen, "numbers", "([one, two]) => it.change(one, two)", [one, two])
    assert (change["seconds"], change["deliveries"], change["drops"], change["missedBy"]) == (2, 25, 3, {"gap_slow": 2})
    anew = {**two, "at": two["at"] + 30, "uptime_seconds": 20.0}
    fewer = {**two, "at": two["at"] + 1, "uptime_seconds": two["uptime_seconds"] + 1, "totals": one["totals"]}
    for before, after in ((two, one), (two, two), (one, anew), (two, fewer), (None, one)):
        assert module(screen, "numbers", "([one, two]) => it.change(one, two)", [before, after]) is None


PERCENTILES: list[tuple[list[int], float, object]] = [
    ([0, 0, 0, 0], 0.5, None),
    ([4, 0, 0, 0], 0.5, 0.5),  # halfway through the first bucket, which begins at 0
    ([0, 100, 0, 0], 0.99, 1.99),
    ([50, 50, 0, 0], 0.5, 1.0),
    ([98, 0, 2, 0], 0.99, 3.0),
    ([0, 0, 0, 1], 0.5, "more"),
    ([1, 0, 0, 0], 0.01, 1.0),
]


def test_percentiles(screen: Screen) -> None:
    """Out of buckets, spread evenly over each: bounds 1, 2 and 4. Above the last bound only that is known."""
    asked = [[{"bounds": [1, 2, 4], "counts": counts, "sum": 0}, share] for counts, share, _ in PERCENTILES]
    found = module(
        screen,
        "numbers",
        "(asked) => asked.map((one) => it.quantile(...one)).map((value) => value === Infinity ? 'more' : value)",
        asked,
    )
    assert found == [pytest.approx(value) if isinstance(value, float) else value for *_, value in PERCENTILES]


def test_figures_as_people_read_them(screen: Screen) -> None:
    """In the largest unit that leaves at least 1."""
    said: dict[str, list[list[Any]]] = {
        "duration": [[0, "0 s"], [0.00034, "340 µs"], [0.0123, "12.3 ms"], [0.9999, "1.0 s"], [125, "2 min 5 s"]],
        "bytes": [[0, "0 B"], [999, "999 B"], [1000, "1.0 kB"], [4_194_304, "4.2 MB"]],
        "count": [[0, "0"], [12_345, "12,345"], [1_500_000, "1.5 M"], [None, NOTHING]],
        "rate": [[0, "0 /s"], [0.25, "0.25 /s"], [2_000_000, "2.0 M/s"], [None, NOTHING]],
    }
    for name, cases in said.items():
        texts = module(screen, "format", f"(values) => values.map(([value]) => it.text(it.{name}(value)))", cases)
        assert texts == [text for _, text in cases]
    assert module(screen, "format", "() => it.text(it.measured(Infinity, [1, 60]))") == "> 60.0 s"
    assert module(screen, "format", "() => it.duration(8000).join(' ')") == "2 h 13 min"
