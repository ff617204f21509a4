"""The live page in a real browser: against a server whose figures are made up, and against a real one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from fanwise.core.reasons import CloseReason

from ..support.processes import ROOT, ServerProcess, clean_environ
from ..support.screen import CONTRASTS, Screen
from ..support.staged import NOON, Staged, channel, client, demo, gone

HOSTILE = "<img src=x onerror='window.hacked = true'><script>window.hacked = true</script>\u202e&amp;"
ANY_NAME = re.compile(r"\S")
NOTHING = "\N{EN DASH}"
WIDE: Any = {"width": 1280, "height": 900}
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
# A server that is away, refuses a key or offers no demo is an error to the browser, which says so itself.
EXPECTED = ("Failed to load resource", "WebSocket connection to")


@pytest.fixture(scope="module")
def only_screen(browser: Any) -> Iterator[Screen]:
    with browser.new_context(viewport=WIDE, locale="en-GB", timezone_id="UTC") as context:
        yield Screen(context)


@pytest.fixture
def screen(only_screen: Screen) -> Iterator[Screen]:
    """A tab with nothing in it, the same one for all: a new one costs as much as three tests."""
    yield only_screen
    only_screen.forget(WIDE)


@pytest.fixture
def staged() -> Iterator[Staged]:
    with Staged() as staged:
        yield staged


def busy(staged: Staged) -> None:
    """Something in every part of the page."""
    staged.figures.clients = [client(1, lag=12, lag_bytes=1500, behind_seconds=2.5, state="behind"), client(2)]
    staged.figures.channels = [channel("lobby"), channel("news/world")]
    staged.figures.closed_clients = [gone(3), gone(4, CloseReason.OPERATOR)]
    staged.tick()
    staged.tick(clients=2, behind=1, channels=2)
    staged.tick(
        totals={"connections": 4, "publications": 50, "deliveries": 2000, "delivered_bytes": 300_000},
        dropped={"closed_slow": 30, "gap_slow": 12},
        ages={0.0015: 1980, 0.4: 20},
        lags={0: 4, 12: 4},
        clients=2,
    )


# ----------------------------------------------------------------------------------------------------- what it shows


def test_it_renders_and_loads_nothing_else(screen: Screen, staged: Staged) -> None:
    """No console error, no violation of its policy; every request goes to this server, and none comes to nothing."""
    busy(staged)
    screen.open(staged.url)
    screen.shows("#connection", "live")
    screen.rows("clients", 2)
    assert {url.split("/")[2] for url in screen.requests if not url.startswith("data:")} == {f"127.0.0.1:{staged.port}"}
    assert (screen.text("#version"), screen.text("#uptime")) == ("0.1.0", "up 8 s,")
    screen.assert_clean()


def test_it_works_under_a_prefix(screen: Screen) -> None:
    """All of it: what it loads, the streams, and what it asks for."""
    with Staged(prefix="/deep/down") as staged:
        busy(staged)
        screen.open(staged.url)
        screen.rows("clients", 2)
        screen.page.click("#chat-button")
        screen.shows("#chat-a .log", "connected")
        screen.page.click("text=Disconnect >> nth=0")
        screen.shows("#clients-outcome", "was closed")
        links = screen.do("() => [...document.querySelectorAll('footer a')].map((one) => one.getAttribute('href'))")
        assert links == ["stats", "clients", "channels", "static/fanwise.js", "static/uplot/LICENSE"]  # not the docs
        assert not screen.is_seen("#chat-key")
        screen.assert_clean()


def test_tiles(screen: Screen, staged: Staged) -> None:
    """Each has its value and its unit; rates are of the last second."""
    busy(staged)
    screen.open(staged.url)
    screen.shows("#tile-deliveries", "2,000")
    assert {name: screen.text(f"#tile-{name} dd") for name in ("clients", "publications", "deliveries", "drops")} == {
        "clients": "2 1 behind",
        "publications": "50.0 /s50 in all",
        "deliveries": "2,000 /s300 kB/s",
        "drops": "42.0 /s42 in 5 min",
    }
    assert {name: screen.text(f"#tile-{name} dd") for name in ("p99", "lag", "memory", "retained")} == {
        "p99": "2.0 msp50 1.5 ms",
        "lag": "400 µsworst of 5 s",
        "memory": "52.4 MBCPU 0 %",
        "retained": "0 B2 channels",
    }


def test_charts_in_words(screen: Screen, staged: Staged) -> None:
    """Beside each chart stand its newest values; the causes of drops have names, until nothing is dropped any more."""
    busy(staged)
    screen.open(staged.url)
    screen.shows("#chart-deliveries .legend", "2,000 /s")
    assert screen.text("#chart-latency .legend") == "p99 2.0 msp50 1.5 ms"
    assert screen.text("#chart-lag .legend") == "up to date 50 %furthest behind 9 to 16 messages"
    assert screen.text("#chart-drops .legend") == "closed: slow 30.0 /sgap: slow 12.0 /s"
    assert not screen.is_seen("#drops-none")
    for _ in range(300):
        staged.tick()
    screen.shows("#chart-deliveries .legend", "deliveries 0 /s")
    screen.until("() => document.querySelector('#chart-drops .legend').textContent === ''")
    assert screen.is_seen("#drops-none")


def test_what_was_before_it_was_opened(screen: Screen, staged: Staged) -> None:
    """The stream's log is in the charts at once."""
    for _ in range(20):
        staged.tick(dropped={"gap_history": 5})
    screen.open(staged.url)
    screen.shows("#tile-drops", "95 in 5 min")


def test_the_charts_are_painted(screen: Screen, staged: Staged) -> None:
    """Lines in their colours; the heat strip from weak to strong, and the queue's limit in it."""
    busy(staged)
    staged.tick(totals={"deliveries": 10}, lags={0: 396, 100: 4}, ages={0.001: 10}, clients=100)
    screen.open(staged.url)
    screen.shows("#chart-deliveries .legend", "10.0 /s")
    assert (37, 99, 235) in screen.colours("#chart-deliveries canvas")
    assert screen.text(".scale") == "clients: 1 100"
    strip = screen.colours("#chart-lag canvas")
    assert {(207, 224, 251), (180, 35, 24)} <= strip  # one client; the limit
    assert any(r < 40 and 100 > b > 80 for r, _, b in strip)  # 99 of them


def test_both_themes(screen: Screen, staged: Staged) -> None:
    """Every text has the contrast that WCAG AA asks for, and canvases take the colours of the theme."""
    busy(staged)
    staged.demo["status"] = demo("tutorial", stalled=1, publishing_seconds=4, healthy=3)
    schemes: list[tuple[Any, tuple[int, int, int]]] = [("light", (37, 99, 235)), ("dark", (122, 167, 255))]
    for scheme, line in schemes:
        screen.page.emulate_media(color_scheme=scheme)
        screen.open(staged.url)
        screen.shows("#connection", "live")
        screen.rows("closed", 2)
        screen.until("() => !document.querySelector('#demo-show').hidden")
        assert screen.do(CONTRASTS) == []
        screen.paints("#chart-deliveries canvas", line)
        screen.page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        screen.until("() => document.querySelector('#chart-deliveries canvas') !== null")
        assert screen.do(CONTRASTS) == []


def test_a_change_of_the_theme_is_painted(screen: Screen, staged: Staged) -> None:
    """While it is open, in the canvases too."""
    busy(staged)
    screen.open(staged.url)
    screen.shows("#tile-deliveries", "2,000")
    screen.page.emulate_media(color_scheme="dark")
    screen.paints("#chart-deliveries canvas", (122, 167, 255))


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_narrow_screen(screen: Screen, staged: Staged, state: str) -> None:
    """Nothing makes the page wider than it is; tables scroll in regions of their own, which the keyboard reaches."""
    if state == "busy":
        busy(staged)
        staged.figures.clients[0]["address"] = "x" * 300
        staged.figures.closed_clients[0]["address"] = "x" * 300
        staged.figures.channels[0]["name"] = "x" * 255
        staged.demo["status"] = demo(healthy=150, slow=20, stalled=30)
    screen.page.set_viewport_size({"width": 390, "height": 844})
    screen.open(staged.url)
    screen.until("() => !document.querySelector('#demo-here').hidden")
    if state == "busy":
        screen.rows("clients", 2)
        for region in screen.page.locator(".scroll").all():
            assert region.get_attribute("tabindex") == "0"
            assert region.get_attribute("aria-labelledby")
        assert screen.do("() => document.querySelector('#clients .scroll').scrollWidth > 380")
    assert screen.do("() => document.documentElement.scrollWidth") == 390
    panels = "[...document.querySelectorAll('.panel')]"
    assert screen.do(f"() => Math.max(...{panels}.map((one) => one.getBoundingClientRect().right))") <= 380


def test_nothing_is_stated_before_it_is_known(screen: Screen) -> None:
    """Before the first document there is no word of nobody and nothing, and no bucket on the heat strip's axis."""
    with Staged() as staged:
        screen.page.route("**/stats", lambda route: route.abort())
        screen.page.goto(staged.url)
        screen.shows("#connection", "lost")
        empty = ("#drops-none", "#clients-empty", "#channels-empty", "#closed-empty")
        assert [screen.is_seen(one) for one in empty] == [False] * 4
        axis = "([from, to]) => [...document.querySelector('#chart-lag canvas').getContext('2d').getImageData(from, 0, "
        axis += "to, 120).data].filter((_, index) => index % 4 === 3).some((alpha) => alpha > 0)"
        assert screen.do(axis, [0, 45]) is False
        screen.page.unroute("**/stats")
        staged.tick()
        staged.tick()
        screen.until("() => !document.querySelector('#drops-none').hidden")
        assert [screen.is_seen(one) for one in empty] == [True] * 4
        screen.until(axis, [0, 45])


# ---------------------------------------------------------------------------------------------- rates and percentiles


def module(screen: Screen, name: str, script: str, argument: Any = None) -> Any:
    """What a script finds out with a module of the page, `it`, which any document of the same server can load."""
    return screen.do(
        f"async (argument) => {{ const it = await import('/static/page/{name}.js'); return ({script})(argument); }}",
        argument,
    )


def test_rates_between_documents(screen: Screen, staged: Staged) -> None:
    """Per second of the server's own time; nothing is said of documents of two processes, or in the wrong order."""
    screen.page.goto(f"{staged.url}demo")
    one = staged.figures.tick(totals={"deliveries": 100})
    two = staged.figures.tick(seconds=2.0, totals={"deliveries": 50}, dropped={"gap_slow": 4})
    change = module(screen, "numbers", "([one, two]) => it.change(one, two)", [one, two])
    assert (change["seconds"], change["deliveries"], change["drops"], change["dropsBy"]) == (2, 25, 2, {"gap_slow": 2})
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


def test_percentiles(screen: Screen, staged: Staged) -> None:
    """Out of buckets, spread evenly over each: bounds 1, 2 and 4. Above the last bound only that is known."""
    screen.page.goto(f"{staged.url}demo")
    asked = [[{"bounds": [1, 2, 4], "counts": counts, "sum": 0}, share] for counts, share, _ in PERCENTILES]
    found = module(
        screen,
        "numbers",
        "(asked) => asked.map((one) => it.quantile(...one)).map((value) => value === Infinity ? 'more' : value)",
        asked,
    )
    assert found == [pytest.approx(value) if isinstance(value, float) else value for *_, value in PERCENTILES]


def test_figures_as_people_read_them(screen: Screen, staged: Staged) -> None:
    """In the largest unit that leaves at least 1."""
    screen.page.goto(f"{staged.url}demo")
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


# ------------------------------------------------------------------------------------------------------------- tables


def test_rows_stay_where_somebody_is(screen: Screen, staged: Staged) -> None:
    """A row with the focus keeps it whatever comes, also when its client has gone, until the focus leaves."""
    staged.figures.clients = [client(number) for number in (1, 2, 3)]
    screen.open(staged.url)
    screen.rows("clients", 3)
    button = screen.page.locator("#clients-table button").nth(1)
    button.focus()
    focused = "() => document.activeElement.getAttribute('aria-label')"
    assert screen.do(focused) == f"Disconnect client {2:016x}"

    staged.figures.clients = [client(number) for number in (2, 3, 4, 1)]
    staged.show()
    screen.rows("clients", 4)
    assert screen.column("clients", 1) == [f"{number:016x}" for number in (2, 3, 4, 1)]
    assert screen.do(focused) == f"Disconnect client {2:016x}"

    staged.figures.clients = [client(number) for number in (4, 3)]
    staged.show()
    screen.rows("clients", 3)
    assert screen.do(focused) == f"Disconnect client {2:016x}"
    assert screen.text("#clients-table tr.gone th") == f"{2:016x}"
    screen.do("() => document.activeElement.blur()")
    screen.rows("clients", 2)
    assert screen.column("clients", 1) == [f"{number:016x}" for number in (4, 3)]


def test_rows_stay_under_the_pointer(screen: Screen, staged: Staged) -> None:
    """While it is over them nothing moves: figures change in place, who comes is last, who goes is marked."""
    staged.figures.clients = [client(number) for number in (1, 2, 3)]
    screen.open(staged.url)
    screen.rows("clients", 3)
    screen.page.hover("#clients-table tbody tr:nth-child(2) button")
    staged.figures.clients = [client(number, lag=7) for number in (4, 3, 2)]
    staged.show()
    screen.rows("clients", 4)
    assert screen.column("clients", 1) == [f"{number:016x}" for number in (1, 2, 3, 4)]
    assert screen.column("clients", 2) == ["0", "7", "7", "7"]
    assert screen.text("#clients-table tr.gone th") == f"{1:016x}"
    screen.page.mouse.move(0, 0)
    screen.rows("clients", 3)
    assert screen.column("clients", 1) == [f"{number:016x}" for number in (4, 3, 2)]


def test_what_is_cut_is_shown_when_pointed_at(screen: Screen, staged: Staged) -> None:
    """And no longer when it fits."""
    staged.figures.clients = [client(1, channels=["x" * 60])]
    screen.open(staged.url)
    screen.until(f"() => [...document.querySelectorAll('#clients-table td')].some((one) => one.title === '{'x' * 60}')")
    staged.figures.clients = [client(1, channels=["x"])]
    staged.show()
    screen.until("() => document.querySelector('#clients-table td[title^=x]') === null")


def test_a_client_in_its_row(screen: Screen, staged: Staged) -> None:
    """Who it is, how far behind, since when, and how it is served."""
    behind = client(9, lag=1200, lag_bytes=2000, buffered_bytes=500, behind_seconds=3.5, rtt_seconds=None)
    staged.figures.clients = [{**behind, "channels": ["a", "b"], "subscriptions": 12, "path": "asgi"}]
    screen.open(staged.url)
    screen.rows("clients", 1)
    assert [screen.column("clients", number)[0] for number in range(1, 10)] == [
        f"{9:016x}",
        "1,200",
        "2.5 kB",
        "3.5 s",
        "11:59:56",
        NOTHING,
        "10.0.0.9:40009",
        "a, b, and 10 more",
        "fanwise.v1, plain ASGI",
    ]


def test_disconnecting(screen: Screen, staged: Staged) -> None:
    """The button asks the server, and what comes of it is said where a screen reader hears it."""
    staged.figures.clients = [client(1, id="a b/c?d"), client(2), client(3)]
    staged.statuses = {f"clients/{2:016x}": 404, f"clients/{3:016x}": 403}
    screen.open(staged.url)
    screen.rows("clients", 3)
    assert screen.page.locator("#clients-outcome").get_attribute("role") == "status"
    screen.page.locator("#clients-table button").nth(0).press("Enter")
    screen.shows("#clients-outcome", "Client a b/c?d was closed.")
    assert screen.page.locator("#clients-table button").nth(0).get_attribute("aria-disabled") == "true"
    screen.page.locator("#clients-table button").nth(0).press("Enter")  # once is enough
    screen.page.locator("#clients-table button").nth(1).press("Space")
    screen.shows("#clients-outcome", "has gone already")
    screen.page.locator("#clients-table button").nth(2).click()
    screen.shows("#clients-outcome", "was not closed: refused <b>with</b> 403")
    assert screen.page.locator("#clients-table button").nth(2).get_attribute("aria-disabled") is None
    ids = ["clients/a b/c?d", f"clients/{2:016x}", f"clients/{3:016x}"]
    assert staged.asked == [("DELETE", path, None) for path in ids]
    screen.assert_clean(*EXPECTED)


def test_the_log_of_closed_connections(screen: Screen, staged: Staged) -> None:
    """200 of them, the latest first, with what the server said of each."""
    staged.figures.closed_clients = [gone(number, CloseReason.NO_PONG, lag=1025) for number in range(200)]
    screen.open(staged.url)
    screen.rows("closed", 200)
    assert [screen.column("closed", number)[1] for number in range(1, 7)] == [
        "11:59:59",
        f"{1:016x}",
        "10.0.1.1:30001",
        "no pong",
        "4012",
        "1,025",
    ]
    staged.figures.closed_clients = [gone(1000), *staged.figures.closed_clients[:199]]
    staged.show()
    screen.until("() => document.querySelector('#closed-table tbody td').textContent.endsWith('3e8')")
    assert len(screen.column("closed", 1)) == 200


def test_hostile_names_stay_text(screen: Screen, staged: Staged) -> None:
    """Wherever something comes from outside: no element of it gets into the page, and nothing of it is run."""
    fields = {"id": HOSTILE, "address": HOSTILE, "dialect": HOSTILE, "path": HOSTILE, "channels": [HOSTILE]}
    staged.figures.clients = [client(1, **fields)]
    staged.figures.channels = [channel(HOSTILE)]
    staged.figures.closed_clients = [gone(1, id=HOSTILE, address=HOSTILE, reason=HOSTILE, code=HOSTILE)]
    staged.figures.version = HOSTILE
    staged.figures.stats["dropped"][f"closed_{HOSTILE}"] = 0
    staged.demo = {"available": False, "why": HOSTILE, "max_clients": 200, "status": None}
    staged.tick()
    staged.tick(dropped={f"closed_{HOSTILE}": 5})
    screen.open(staged.url)
    screen.rows("clients", 1)
    screen.shows("#chart-drops .legend", "closed: ")
    screen.page.click("#clients-table button")
    screen.shows("#clients-outcome", "was closed")
    for place in ("#version", "#clients-table", "#channels-table", "#closed-table", "#demo-why", "#clients-outcome"):
        assert "<img src=x onerror=" in screen.text(place), place
    assert screen.do("() => document.querySelectorAll('img, main script').length") == 0
    screen.assert_clean()


# ------------------------------------------------------------------------------------- a server that comes and goes


def test_a_restarted_server(screen: Screen) -> None:
    """The page comes back by itself, and counters that begin at 0 again are no negative rates."""
    with Staged() as before:
        busy(before)
        screen.open(before.url)
        screen.shows("#tile-deliveries", "2,000")
    screen.shows("#connection", "lost since")
    assert screen.page.title() == "Fanwise (lost)"
    with Staged(port=before.port) as anew:
        anew.figures.version = "0.2.0"
        anew.figures.stats["at"] = before.figures.stats["at"] + 60
        anew.tick(totals={"deliveries": 7})
        screen.shows("#version", "0.2.0")
        screen.shows("#connection", "live")
        screen.shows("#tile-deliveries", NOTHING)
        anew.tick(totals={"deliveries": 7})
        screen.shows("#tile-deliveries", "7.0 /s")
        for place in (".tiles", "#overview .legend"):
            assert "-" not in screen.text(place)
        screen.assert_clean(*EXPECTED)


def test_a_server_that_is_silent(browser: Any, staged: Staged) -> None:
    """What is old does not look as if it were of now: the header says so, until something comes."""
    with browser.new_context() as context:
        screen = Screen(context)
        screen.page.clock.install()
        screen.open(staged.url)
        staged.tick()
        screen.shows("#connection", "live")
        screen.page.clock.fast_forward(5000)
        screen.shows("#connection", "waiting: the server says nothing")
        assert screen.do("() => document.body.classList.contains('stale')")
        staged.tick()
        screen.shows("#connection", "live")
        staged.figures.stats["state"] = {"ready": False, "draining": True, "loop_lag_seconds": 2.5}
        staged.tick()
        screen.shows("#connection", "draining")
        assert screen.text("#tile-lag .value") == "2.5"


def test_a_server_that_is_away_at_first(browser: Any, staged: Staged) -> None:
    """Who opened the page before the server was there need not load it again."""
    with browser.new_context() as context:
        screen = Screen(context)
        screen.page.clock.install()
        context.route("**/stats", lambda route: route.abort())
        screen.page.goto(staged.url)
        screen.shows("#connection", "lost since")
        context.unroute("**/stats")
        screen.page.clock.fast_forward(3000)
        staged.tick()
        screen.shows("#connection", "live")


def test_a_page_in_the_background(screen: Screen, staged: Staged) -> None:
    """Nobody makes lists for it, and whatever comes it holds 300 points; seen again, it shows what is new."""
    busy(staged)
    screen.open(staged.url)
    screen.rows("clients", 2)
    staged.wait(lambda: staged.listeners("lists") == staged.listeners("demo") == 1)
    screen.do(HIDE, True)
    staged.wait(lambda: staged.listeners("lists") == staged.listeners("demo") == 0)
    assert staged.listeners("stats") == 1
    for _ in range(400):
        staged.tick(dropped={"gap_slow": 1})
    staged.figures.clients = [client(7)]
    screen.do(HIDE, False)
    staged.wait(lambda: staged.listeners("lists") == 1)
    staged.show()
    screen.rows("clients", 1)
    screen.shows("#tile-drops", "300 in 5 min")


# -------------------------------------------------------------------------------------------------------------- the key


def test_a_server_with_a_key(screen: Screen) -> None:
    """The page asks for it, tries it, and keeps it in this tab: nowhere else, and it does not ask again."""
    with Staged(api_key="correct-horse") as staged:
        staged.figures.clients = [client(1)]
        screen.page.goto(staged.url)
        screen.until("() => document.activeElement.id === 'key'")
        screen.shows("#connection", "waiting for the key")
        links = ("stats", "clients", "channels")
        assert [to for to in links if screen.is_seen(f"footer a[href={to}]")] == ["channels"]
        assert screen.page.locator("#key").get_attribute("type") == "password"
        screen.page.keyboard.type("wrong-horse")
        screen.page.keyboard.press("Enter")
        screen.shows("#key-problem", "That is not this server's key.")
        screen.until("() => document.activeElement.id === 'key'")
        screen.page.keyboard.type("correct-horse")
        screen.page.keyboard.press("Enter")
        screen.rows("clients", 1)
        staged.tick()
        screen.shows("#connection", "live")
        assert not screen.is_seen("#key-form")
        assert screen.do("() => ({...sessionStorage})") == {"fanwise.key": "correct-horse"}
        assert screen.do("() => [localStorage.length, document.cookie]") == [0, ""]
        assert not [url for url in screen.requests if "horse" in url]
        screen.open(staged.url)
        screen.shows("#connection", "live")
        assert not screen.is_seen("#key-form")
        assert not screen.is_seen("footer a[href=stats]")
        assert "here you can listen only" in screen.text("#chat-key")
        assert screen.is_seen("#chat-key")
        screen.assert_clean(*EXPECTED)


def test_a_key_that_no_request_can_carry(screen: Screen) -> None:
    """It is said, and the page goes on asking."""
    with Staged(api_key="correct-horse") as staged:
        screen.page.goto(staged.url)
        screen.until("() => document.activeElement.id === 'key'")
        screen.page.keyboard.type("ключ")
        screen.page.keyboard.press("Enter")
        screen.shows("#key-problem", "That is not this server's key.")
        assert screen.is_seen("#key-form")


# ------------------------------------------------------------------------------------------------------------- the demo


def test_the_demo_is_started_and_changed(screen: Screen, staged: Staged) -> None:
    """Start asks with what stands in the form; a change of the mode, or of a number, asks again; Stop ends it."""
    screen.open(staged.url)
    screen.until("() => !document.querySelector('#demo-here').hidden")
    staged.demo["status"] = demo(healthy=20, stalled=3)
    screen.page.fill("[name=clients]", "23")
    screen.page.fill("[name=stalled]", "3")
    screen.page.fill("[name=slow]", "0")
    screen.page.click("#demo-button")
    screen.shows("#demo-button", "Stop")
    asked = {"mode": "fanwise", "clients": 23, "slow": 0, "stalled": 3, "rate": 20, "size": 4096}
    assert staged.asked == [("PUT", "demo", asked)]
    staged.demo["status"] = demo("tutorial", healthy=20, stalled=3)
    screen.page.check("[value=tutorial]")
    screen.shows("#demo-story", "the kernel still takes what 3 stalled did not read")
    assert staged.asked[1:] == [("PUT", "demo", {**asked, "mode": "tutorial"})]
    screen.page.click("#demo-button")
    staged.wait(lambda: staged.asked[-1] == ("DELETE", "demo", None))
    staged.play(demo("tutorial", running=False))
    screen.shows("#demo-story", "The demo is not running.")
    screen.shows("#demo-button", "Start")
    screen.assert_clean()


def test_enter_applies_and_never_stops(screen: Screen, staged: Staged) -> None:
    """In a number field: it starts, then changes what runs, once; Stop works whatever stands in the form."""
    screen.open(staged.url)
    screen.until("() => !document.querySelector('#demo-here').hidden")
    staged.demo["status"] = demo()
    screen.page.press("[name=rate]", "Enter")
    screen.shows("#demo-button", "Stop")
    for number, rate in enumerate(("30", "40"), start=2):
        screen.page.fill("[name=rate]", rate)
        screen.page.press("[name=rate]", "Enter")
        staged.wait(lambda number=number: len(staged.asked) >= number)  # type: ignore[misc]
    screen.page.fill("[name=clients]", "0")
    screen.page.press("[name=clients]", "Enter")
    screen.page.click("#demo-button")
    staged.wait(lambda: staged.asked[-1][0] == "DELETE")
    asked = {"mode": "fanwise", "clients": 50, "slow": 2, "stalled": 1, "rate": 20, "size": 4096}
    puts = [("PUT", "demo", {**asked, "rate": rate}) for rate in (20, 30, 40)]
    assert staged.asked == [*puts, ("DELETE", "demo", None)]


def test_the_form_keeps_to_what_the_server_allows(screen: Screen, staged: Staged) -> None:
    """Where it allows fewer clients than the form begins with, Start starts all the same."""
    staged.demo["max_clients"] = 2
    screen.open(staged.url)
    screen.until("() => !document.querySelector('#demo-here').hidden")
    assert [screen.page.get_attribute(f"[name={name}]", "max") for name in ("clients", "slow", "stalled")] == ["2"] * 3
    staged.demo["status"] = demo(healthy=0, slow=1, stalled=1)
    screen.page.click("#demo-button")
    screen.shows("#demo-button", "Stop")
    ((_, _, asked),) = staged.asked
    assert {name: asked[name] for name in ("clients", "slow", "stalled")} == {"clients": 2, "slow": 1, "stalled": 1}


def test_the_form_follows_what_others_change(screen: Screen, staged: Staged) -> None:
    """All of it, but for what somebody is typing."""
    staged.demo["status"] = demo()
    screen.open(staged.url)
    screen.shows("#demo-button", "Stop")
    value = "(value) => document.querySelector('[name=rate]').value === value"
    screen.until(value, "20")
    screen.page.focus("#demo-button")
    staged.play(demo("tutorial", healthy=9, rate=40))
    screen.until(value, "40")
    assert (screen.page.input_value("[name=clients]"), screen.page.is_checked("[value=tutorial]")) == ("9", True)
    screen.page.focus("[name=rate]")
    screen.page.keyboard.type("1")
    typed = screen.page.input_value("[name=rate]")
    staged.play(demo(healthy=3, rate=60))
    screen.shows("#demo-story", "3 of 3")
    assert screen.page.input_value("[name=rate]") == typed != "60"


def test_what_the_demo_cannot_do(screen: Screen, staged: Staged) -> None:
    """Numbers that make no sense are not asked for; what the server refuses is said."""
    screen.open(staged.url)
    screen.until("() => !document.querySelector('#demo-here').hidden")
    screen.page.fill("[name=clients]", "1000")
    screen.page.click("#demo-button")
    assert screen.do("() => document.querySelector('[name=clients]:invalid') !== null")
    assert staged.asked == []
    staged.statuses["demo"] = 400
    screen.page.fill("[name=clients]", "10")
    screen.page.click("#demo-button")
    screen.shows("#demo-problem", "refused <b>with</b> 400")
    screen.assert_clean(*EXPECTED)


def test_a_server_without_a_demo(screen: Screen, staged: Staged) -> None:
    """Its reason stands in the place of the controls."""
    staged.demo = {"available": False, "why": "others can reach this server", "max_clients": 0, "status": None}
    screen.open(staged.url)
    screen.shows("#demo-why", "There is no demo here: others can reach this server")
    assert not screen.is_seen("#demo-form")


def test_a_demo_that_runs_already(screen: Screen, staged: Staged) -> None:
    """Who opens the page sees it, with its numbers in the form."""
    staged.demo["status"] = demo("tutorial", healthy=7, slow=2, stalled=1, rate=33)
    screen.open(staged.url)
    screen.shows("#demo-button", "Stop")
    assert screen.do("() => Object.fromEntries(new FormData(document.querySelector('#demo-form')))") == {
        "mode": "tutorial",
        "clients": "10",
        "slow": "2",
        "stalled": "1",
        "rate": "33",
        "size": "4096",
    }


def test_a_demo_that_is_gone(screen: Screen) -> None:
    """With the server that ran it, or while nobody looked: the page does not go on showing it."""
    with Staged() as before:
        before.demo["status"] = demo()
        screen.open(before.url)
        screen.shows("#demo-button", "Stop")
        screen.do(HIDE, True)
        before.wait(lambda: before.listeners("demo") == 0)
        before.demo["status"] = demo(running=False)
        screen.do(HIDE, False)
        screen.shows("#demo-button", "Start")
        before.play(demo("tutorial"))
        screen.shows("#demo-button", "Stop")
        assert screen.page.is_checked("[value=tutorial]")
    screen.shows("#demo-story", "The server is away: this is how the demo went last.")
    assert screen.page.get_attribute("#demo-story", "class") == "story idle"
    screen.page.click("#demo-button")
    screen.shows("#demo-problem", "The server could not be reached.")
    with Staged(port=before.port):
        screen.shows("#demo-button", "Start")
        assert not screen.is_seen("#demo-show")
        assert screen.text("#demo-problem") == ""


def stopped(seconds: float) -> dict[str, Any]:
    """The tutorial loop, when it waits."""
    document = demo("tutorial", healthy=4, slow=1, stalled=1, publishing_seconds=seconds)
    document["healthy"] |= {"received_per_second": 0, "p50_seconds": seconds, "p99_seconds": seconds}
    document["healthy"]["silent_seconds"] = seconds
    for one in document["clients"]:
        one["silent_seconds"] = seconds
    return document


def test_what_the_demo_shows(screen: Screen, staged: Staged) -> None:
    """In one sentence, in a cell for each client, in words for each kind; and who listens hears when it turns."""
    screen.open(staged.url)
    document = demo(healthy=48, slow=2, stalled=2, drops=2)
    for one in document["clients"][-2:]:
        one.update(connected=False, code=4008, missing=140, silent_seconds=7)
    staged.play(document)
    screen.shows("#demo-story", "48 of 48 healthy clients are served, p99 3.0 ms; 2 stalled clients were dropped.")
    assert screen.text("#demo-news") == screen.text("#demo-story")
    kinds = screen.page.locator("#crowd-words li").all_text_contents()
    assert kinds[0] == "48 healthy clients, nothing missing"
    assert kinds[2].startswith("2 stalled clients, 2 dropped (code 4008), the longest without a message: 7.0 s")
    screen.until("() => document.querySelector('#crowd').width > 300")
    green, amber, red = (6, 118, 71), (180, 83, 9), (180, 35, 24)
    screen.paints("#crowd", amber)
    screen.paints("#crowd", green)
    assert red not in screen.colours("#crowd")

    staged.play(stopped(7.2))
    sentence = "Nobody has received anything for 7.2 s: the publisher waits for one client that does not read."
    screen.shows("#demo-story", sentence)
    assert screen.text("#demo-news") == sentence
    screen.paints("#crowd", red)
    screen.paints("#crowd", green, isnt=True)
    staged.play(stopped(7.5))
    screen.shows("#demo-story", "for 7.5 s")
    assert screen.text("#demo-news") == sentence, "said once, not four times a second"


def test_who_is_not_served_is_counted(screen: Screen, staged: Staged) -> None:
    """Of all healthy clients: those that were dropped, and those that were not let in, which nobody has dropped."""
    screen.open(staged.url)
    document = demo(healthy=20, slow=1)
    for one, code in zip(document["clients"][-5:], (1006, None, None, None, None), strict=True):
        one.update(connected=False, code=code)
    document["healthy"]["clients"] = 16
    staged.play(document)
    told = "16 of 20 healthy clients are served, p99 3.0 ms; 1 slow client is not connected yet, "
    told += "1 healthy client was dropped, 3 healthy clients are not connected yet."
    screen.shows("#demo-story", told)
    assert screen.page.get_attribute("#demo-story", "class") == "story warn"
    kinds = screen.page.locator("#crowd-words li").all_text_contents()
    assert kinds[:2] == [
        "20 healthy clients, 1 dropped (code 1006), 3 not connected yet, nothing missing",
        "1 slow client, 1 not connected yet, nothing missing",
    ]
    for one in document["clients"]:
        one.update(connected=False, code=None)
    document["healthy"]["clients"] = 0
    staged.play(document)
    screen.shows("#demo-story", "Nobody is connected yet.")


LINES = """() => {
    const canvas = document.querySelector("#chart-demo canvas");
    const {width, height} = canvas;
    if (height === 0) return 0;  // not laid out yet
    const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
    const isInk = (x, y) => data[4 * (y * width + x) + 3] > 50 && data[4 * (y * width + x)] < 150;
    const isLine = (x) => [...Array(height).keys()].filter((y) => isInk(x, y)).length > height / 2;
    return [...Array(width).keys()].filter((x) => isLine(x) && !isLine(x - 1)).length;
}"""


def test_changes_of_the_mode_are_marked(screen: Screen, staged: Staged) -> None:
    """By a line through the chart for each, and for the end."""
    screen.open(staged.url)
    document = demo()
    document["healthy"].update(p50_seconds=None, p99_seconds=None)
    documents = [document, {**document, "mode": "tutorial"}, {**document, "running": False}]
    for number, one in enumerate(documents, start=1):
        for again in (False, True):  # which changes nothing
            at = NOON + 10 * number + 5 * again
            screen.do("(at) => { Date.now = () => at * 1000; }", at)
            staged.play(one)
            screen.shows("#demo-story", "not running" if not one["running"] else "4 of 4")
        screen.until(f"(number) => ({LINES})() === number", number)


# ------------------------------------------------------------------------------------------------------------- the chat


def test_two_chat_boxes(screen: Screen, staged: Staged) -> None:
    """What one sends comes to both, as text; nothing connects before it is asked to; the logs are bounded."""
    screen.open(staged.url)
    assert screen.text("#chat-a .log") == ""
    screen.page.click("#chat-button")
    for box in ("a", "b"):
        screen.shows(f"#chat-{box} .log", "connected")
    screen.page.fill("#chat-a input", HOSTILE)
    screen.page.press("#chat-a input", "Enter")
    for box in ("a", "b"):
        screen.shows(f"#chat-{box} .log", f"Message: {HOSTILE}")
    assert screen.page.input_value("#chat-a input") == ""
    with connect(f"ws://127.0.0.1:{staged.port}/ws?channel=chat", compression=None, max_queue=None) as outside:
        for number in range(150):
            outside.send(str(number))
        outside.send(b"\x00\x01")
        screen.shows("#chat-b .log", "2 bytes, binary")
    for box in ("a", "b"):
        assert screen.page.locator(f"#chat-{box} li").count() == 100
    screen.page.click("#chat-button")
    screen.shows("#chat-a .log", "left")
    assert screen.do("() => document.querySelectorAll('img').length") == 0
    screen.assert_clean()


def test_a_chat_that_is_interrupted(screen: Screen) -> None:
    """It says so, and comes back by itself; what is being typed stays, and keeps the focus."""
    with Staged() as staged:
        screen.open(staged.url)
        screen.page.click("#chat-button")
        screen.shows("#chat-a .log", "connected")
        screen.page.fill("#chat-a input", "half a sen")
    screen.shows("#chat-a .log", "It comes back by itself")
    screen.page.press("#chat-a input", "Enter")
    with Staged(port=staged.port):
        screen.until("() => document.querySelector('#chat-a .log').textContent.split('connected').length === 3")
        assert screen.do("() => document.activeElement.value") == "half a sen"
        screen.page.press("#chat-a input", "Enter")
        screen.shows("#chat-a .log", "Message: half a sen")
        screen.page.click("#chat-button")
        screen.shows("#chat-a .log", "left")
    screen.page.click("#chat-button")
    screen.shows("#chat-b .log", "no connection: 1006. It comes back by itself")


# ------------------------------------------------------------------------------------- keyboard, and who does not see


def test_everything_is_reached_by_keyboard(screen: Screen, staged: Staged) -> None:
    """In the order in which it stands, beginning with the link that skips; where one is, is seen."""
    busy(staged)
    screen.open(staged.url)
    screen.rows("clients", 2)
    screen.until("() => !document.querySelector('#demo-here').hidden")
    wanted = screen.do(
        """() => [...document.querySelectorAll("a[href], button, input, [tabindex='0']")]
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


def test_what_a_screen_reader_finds(screen: Screen, staged: Staged) -> None:
    """Landmarks, one first heading, names for everything that can be used or looked at, heads for columns and rows."""
    busy(staged)
    screen.open(staged.url)
    screen.rows("clients", 2)
    page: Any = screen.page
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role
    assert page.get_by_role("heading", level=1).count() == 1
    for role in ("button", "link", "textbox", "spinbutton", "radio", "region", "table", "img", "log"):
        everything = page.get_by_role(role)
        assert everything.count() > 0, role
        named = page.get_by_role(role, name=ANY_NAME)
        assert named.count() == everything.count(), role
    assert page.locator("thead th:not([scope=col])").count() == 0
    assert page.locator("tbody tr > :first-child:not(th[scope=row])").count() == 0
    live = page.locator("[aria-live], [role=status], [role=alert], [role=log]")
    ticking = live.locator(".value, .moment, td")
    assert ticking.count() == 0, "what changes each second is not read out"


def test_reduced_motion(screen: Screen, staged: Staged) -> None:
    """Nothing glides for those who asked for that."""
    screen.open(staged.url)
    motions: list[tuple[Any, str]] = [("reduce", "auto"), ("no-preference", "smooth")]
    for motion, behaviour in motions:
        screen.page.emulate_media(reduced_motion=motion)
        assert screen.do("() => getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def test_the_first_minute(screen: Screen, staged: Staged) -> None:
    """An empty server says how to try it: a command, the demo, the chat; with the first client the hint goes."""
    staged.tick()
    screen.open(staged.url)
    screen.until("() => !document.querySelector('#hint').hidden")
    command = f"fanwise bench --clients 200 --rate 50 --duration 60 --url 'ws://127.0.0.1:{staged.port}/ws?channel={{channel}}'"
    assert screen.text("#bench-command") == command
    staged.demo["status"] = demo()
    screen.page.click("#hint-demo")
    screen.shows("#demo-button", "Stop")
    assert screen.do("() => document.activeElement.id") == "demo-button"
    screen.page.click("#hint-chat")
    screen.shows("#chat-a .log", "connected")
    assert screen.do("() => document.activeElement.closest('section').id") == "chat-a"
    staged.tick(totals={"connections": 1})
    screen.until("() => document.querySelector('#hint').hidden")


# ---------------------------------------------------------------------------------------------- against a real server


Serve = Callable[..., ServerProcess]


def address(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}/"


def test_the_figures_move_under_load(screen: Screen, serve: Serve) -> None:
    """While `fanwise bench` runs: clients, rates, percentiles, tables; and they come to rest after it."""
    server = serve()
    screen.open(address(server))
    screen.until("() => !document.querySelector('#hint').hidden")
    bench = [sys.executable, "-m", "fanwise", "bench", "--clients", "20", "--rate", "50", "--duration", "60"]
    load = subprocess.Popen(
        [*bench, "--url", server.url("/ws?channel={channel}")],
        cwd=ROOT,
        env=clean_environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        screen.shows("#tile-clients", "21")  # and the one who publishes
        screen.until(
            "() => parseInt(document.querySelector('#tile-deliveries .value').textContent.replace(',', '')) > 99"
        )
        screen.until("() => /s$/.test(document.querySelector('#tile-p99 .unit').textContent)")
        screen.rows("clients", 20)
        screen.until("() => document.querySelector('#channels-table tbody').textContent.includes('bench-0')")
        assert not screen.is_seen("#hint")
    finally:
        load.kill()
        load.wait()
    screen.rows("clients", 0)
    screen.rows("closed", 21)
    screen.shows("#tile-deliveries", "0 /s")
    screen.assert_clean()


def demo_news(server: ServerProcess) -> dict[str, Any]:
    """How the demo goes, as the server says."""
    return dict(json.loads(server.get("/demo").partition(b"\r\n\r\n")[2])["status"])


def test_the_demos_modes_differ(screen: Screen, serve: Serve) -> None:
    """One client that does not read: with the loop everybody stops, with Fanwise nobody who reads event_log."""
    server = serve()
    screen.open(address(server))
    screen.until("() => !document.querySelector('#demo-here').hidden")
    for name, value in (("clients", "20"), ("slow", "0"), ("stalled", "1"), ("rate", "50")):
        screen.page.fill(f"#demo-form [name={name}]", value)
    screen.page.check("#demo-form [value=tutorial]")
    screen.page.click("#demo-button")
    screen.shows("#demo-story", "the publisher waits for one client that does not read")
    screen.until(
        "async () => (await (await fetch('demo')).json()).status.healthy.p99_seconds > 1"
    )  # nothing in a second
    stopped = demo_news(server)
    assert stopped["healthy"]["silent_seconds"] > 1
    assert stopped["publishing_seconds"] > 1
    screen.page.check("#demo-form [value=fanwise]")
    screen.shows("#demo-story", "19 of 19 healthy clients are served")
    screen.until(
        "async () => (await (await fetch('demo')).json()).status.published > 200"
    )  # four seconds' worth: the stalled one's buffers are full by then
    flowing = demo_news(server)
    assert flowing["mode"] == "fanwise"
    assert flowing["healthy"]["received_per_second"] > 19 * 50 / 2
    assert flowing["healthy"]["p99_seconds"] < stopped["healthy"]["p99_seconds"]
    assert [client["missing"] > 50 for client in flowing["clients"]] == [False] * 19 + [True]
    screen.page.click("#demo-button")
    screen.shows("#demo-story", "The demo is not running.")
    screen.assert_clean()


def test_a_real_client_is_disconnected(screen: Screen, serve: Serve) -> None:
    """With the code that says that an operator did it; it is in the log of closed connections after that."""
    server = serve()
    screen.open(address(server))
    with connect(server.url("/ws"), compression=None) as victim:
        screen.rows("clients", 1)
        screen.page.click("#clients-table button")
        with pytest.raises(ConnectionClosedError):
            victim.recv()
        assert victim.close_code == 4503
    screen.shows("#clients-outcome", "was closed")
    screen.until("() => document.querySelector('#clients-table tr.gone') !== null")
    screen.page.mouse.move(0, 0)
    screen.page.focus("#main")
    screen.rows("clients", 0)
    screen.rows("closed", 1)
    assert [screen.column("closed", number)[0] for number in (4, 5)] == ["operator", "4503"]
    screen.assert_clean()


def test_a_real_server_is_killed(screen: Screen, serve: Serve) -> None:
    """And started anew: the page comes back to it."""
    server = serve()
    screen.open(address(server))
    screen.shows("#connection", "live")
    before = screen.text("#runtime")
    server.kill()
    screen.shows("#connection", "lost since")
    serve(server.port)
    screen.shows("#connection", "live")
    screen.until("(before) => document.querySelector('#runtime').textContent !== before", before)
    screen.assert_clean(*EXPECTED)


def test_a_real_server_with_a_key(screen: Screen, serve: Serve) -> None:
    """Watching asks for it; the chat's plain dialect cannot bring it, is told so, and does not try again."""
    server = serve(FANWISE_API_KEY="correct-horse")
    screen.page.goto(address(server))
    screen.until("() => document.activeElement.id === 'key'")
    screen.page.keyboard.type("correct-horse")
    screen.page.keyboard.press("Enter")
    screen.shows("#connection", "live")
    screen.page.click("#chat-button")
    screen.shows("#chat-a .log", "connected")
    screen.page.fill("#chat-a input", "hello")
    screen.page.press("#chat-a input", "Enter")
    screen.shows("#chat-a .log", "closed: 4501 unauthorised")
    assert "comes back" not in screen.text("#chat-a .log")
    screen.rows("clients", 1)
    screen.page.click("#clients-table button")
    screen.shows("#clients-outcome", "was closed")
    screen.shows("#chat-b .log", "closed: 4503")
    screen.assert_clean(*EXPECTED)
