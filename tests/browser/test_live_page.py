"""The live page in a real browser: against a server whose figures are made up, and against a real one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from socket import create_connection
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from ..support.processes import ROOT, ServerProcess, clean_environ
from ..support.screen import CONTRASTS, EXPECTED, NOTHING, Screen
from ..support.staged import Staged, channel, client, demo, frozen, gone

HOSTILE = "<img src=x onerror='window.hacked = true'><script>window.hacked = true</script>\u202e&amp;"
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


# ----------------------------------------------------------------------------------------------------- what it shows


def test_it_works_under_a_prefix(screen: Screen) -> None:
    """All of it: what it loads, the streams, and what it asks for."""
    with Staged(prefix="/deep/down") as staged:
        staged.busy()
        screen.open(staged.url)
        screen.rows("clients", 2)
        screen.page.click("#chat-button")
        screen.shows("#chat-a .log", "connected")
        screen.page.click("text=Disconnect >> nth=0")
        screen.page.click("text=Really?")
        screen.shows("#clients-outcome", "was closed")
        links = screen.do("() => [...document.querySelectorAll('footer a')].map((one) => one.getAttribute('href'))")
        assert links == ["stats", "clients", "channels", "static/fanwise.js", "static/uplot/LICENSE"]  # not the docs
        assert not screen.is_seen("#chat-key")
        screen.assert_clean()


def test_what_was_before_it_was_opened(screen: Screen, staged: Staged) -> None:
    """The stream's log is in the charts at once; causes of drops have names until nothing is dropped any more."""
    for _ in range(20):
        staged.tick(dropped={"gap_history": 5})
    screen.open(staged.url)
    screen.shows("#tile-drops", "95 messages missed")
    screen.shows("#chart-drops .legend", "gap: history 5.0 /s")
    assert not screen.is_seen("#drops-none")
    for _ in range(300):
        staged.tick()
    screen.until("() => document.querySelector('#chart-drops .legend').textContent === ''")
    screen.shows("#chart-deliveries .legend", "deliveries 0 /s")
    assert screen.is_seen("#drops-none")


def test_the_charts_are_painted(screen: Screen, staged: Staged) -> None:
    """Lines in their colours; the heat strip from weak to strong, and the queue's limit in it; then in a new theme."""
    staged.busy()
    staged.tick(totals={"deliveries": 10}, lags={0: 396, 100: 4}, ages={0.001: 10}, clients=100)
    screen.open(staged.url)
    screen.shows("#chart-deliveries .legend", "10.0 /s")
    assert (37, 99, 235) in screen.colours("#chart-deliveries canvas")
    assert screen.text(".scale") == "1 100 clients"
    strip = screen.colours("#chart-lag canvas")
    assert {(207, 224, 251), (180, 35, 24)} <= strip  # one client; the limit
    assert any(r < 40 and 100 > b > 80 for r, _, b in strip)  # 99 of them
    screen.page.emulate_media(color_scheme="dark")
    screen.paints("#chart-deliveries canvas", (122, 167, 255))


def test_both_themes(screen: Screen, staged: Staged) -> None:
    """Every text has the contrast that WCAG AA asks for, and canvases take the colours of the theme."""
    staged.busy()
    staged.demo["status"] = frozen("stopped", 4.0)
    schemes: list[tuple[Any, tuple[int, int, int]]] = [("light", (37, 99, 235)), ("dark", (122, 167, 255))]
    for scheme, line in schemes:
        screen.page.emulate_media(color_scheme=scheme)
        screen.open(staged.url)
        screen.shows("#connection", "live")
        screen.rows("closed", 2)
        screen.shows("#demo-button", "Stop")
        assert screen.do(CONTRASTS) == []
        screen.paints("#chart-deliveries canvas", line)
        screen.page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        screen.until("() => document.querySelector('#chart-deliveries canvas') !== null")
        assert screen.do(CONTRASTS) == []


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_narrow_screen(screen: Screen, staged: Staged, state: str) -> None:
    """Nothing makes the page wider than it is; tables scroll in regions of their own, which the keyboard reaches."""
    if state == "busy":
        staged.busy()
        staged.figures.clients[0]["address"] = "x" * 300
        staged.figures.closed_clients[0]["address"] = "x" * 300
        staged.figures.channels[0]["name"] = "x" * 255
        staged.demo["status"] = demo("calm", clients=100)
    screen.page.set_viewport_size({"width": 390, "height": 844})
    screen.open(staged.url)
    if state == "busy":
        screen.shows("#demo-button", "Stop")
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
        screen.page.route("**/stats*", lambda route: route.abort())
        screen.page.goto(staged.url)
        screen.shows("#connection", "lost")
        empty = ("#drops-none", "#clients-empty", "#channels-empty", "#closed-empty")
        assert [screen.is_seen(one) for one in empty] == [False] * 4
        assert not screen.is_seen("#overview")
        axis = "([from, to]) => [...document.querySelector('#chart-lag canvas').getContext('2d').getImageData(from, 0, "
        axis += "to, 120).data].filter((_, index) => index % 4 === 3).some((alpha) => alpha > 0)"
        assert screen.do(axis, [0, 45]) is False
        screen.page.unroute("**/stats*")
        staged.tick()
        staged.tick(lags={0: 4}, clients=1)
        screen.until("() => !document.querySelector('#drops-none').hidden")
        assert [screen.is_seen(one) for one in empty] == [True] * 4
        screen.until(axis, [0, 45])


# ---------------------------------------------------------------------------------------------- rates and percentiles


# ------------------------------------------------------------------------------------------------------------- tables


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
    for _ in range(2):
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
        before.busy()
        screen.open(before.url)
        screen.shows("#tile-deliveries", "2,000")
    screen.shows("#connection", "lost since")
    assert screen.page.title() == "Fanwise (lost)"
    unknown = ("#tile-clients .value", "#clients-table", "#channels-table", "#workers")
    assert [one for one in unknown if screen.is_seen(one)] == []
    assert screen.is_seen("#clients .when-lost")
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


def test_a_connection_that_comes_while_the_server_stops() -> None:
    """It ends with the server, of which nobody would read it any more: the browser sends its next request elsewhere."""
    with Staged() as staged, staged.stopping():
        late = create_connection(("127.0.0.1", staged.port), timeout=60)
        late.sendall(b"GET /demo HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    with late, suppress(ConnectionResetError):
        while late.recv(65_536):
            pass


FIVE_SECONDS_PASS = """() => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + 5000;
}"""


def test_a_server_that_is_silent(screen: Screen, staged: Staged) -> None:
    """What is old does not look as if it were of now: the header says so, until something comes."""
    screen.open(staged.url)
    staged.tick()
    screen.shows("#connection", "live")
    screen.do(FIVE_SECONDS_PASS)
    screen.shows("#connection", "waiting: the server says nothing")
    assert screen.do("() => document.body.classList.contains('stale')")
    staged.tick()
    screen.shows("#connection", "live")
    staged.figures.stats["state"] = {"ready": False, "draining": True, "loop_lag_seconds": 2.5}
    staged.tick()
    screen.shows("#connection", "draining")
    assert screen.text("#tile-lag .value") == "2.5"


def test_a_server_that_is_away_at_first(screen: Screen, staged: Staged) -> None:
    """Who opened the page before the server was there need not load it again."""
    screen.page.route("**/stats*", lambda route: route.abort())
    screen.page.goto(staged.url)
    screen.shows("#connection", "lost since")
    screen.page.unroute("**/stats*")
    staged.tick()
    screen.shows("#connection", "live")


def test_a_page_in_the_background(screen: Screen, staged: Staged) -> None:
    """Nobody makes lists for it, and whatever comes it holds 300 points; seen again, it shows what is new."""
    staged.busy()
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
    screen.shows("#tile-drops", "300 messages missed")


# -------------------------------------------------------------------------------------------------------------- the key


def test_a_server_with_a_key(screen: Screen) -> None:
    """The page asks for it, tries it, and keeps it in this tab: nowhere else, and it does not ask again."""
    with Staged(api_key="correct-horse") as staged:
        staged.figures.clients = [client(1)]
        screen.page.goto(staged.url)
        screen.until("() => document.activeElement.id === 'key'")
        screen.shows("#connection", "waiting for the key")
        assert [one for one in ("#overview", "#clients", "#closed") if screen.is_seen(one)] == []
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
        assert '--header "Authorization: Bearer $FANWISE_API_KEY" --url' in screen.text("#bench-command")
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


def test_the_form_keeps_to_what_the_server_allows(screen: Screen, staged: Staged) -> None:
    """Where it allows fewer clients than the form begins with, Start starts all the same."""
    staged.demo["max_clients"] = 3
    screen.open(staged.url)
    screen.until("() => document.querySelector('[name=clients]').max === '3'")
    assert screen.page.input_value("[name=clients]") == "3"
    assert screen.do("() => document.querySelectorAll('#side-fanwise .cells .cell').length") == 3
    staged.demo["status"] = demo("connecting", clients=3)
    screen.page.click("#demo-button")
    screen.shows("#demo-button", "Stop")
    assert staged.asked == [("PUT", "demo", {})]


def test_a_server_without_a_demo(screen: Screen, staged: Staged) -> None:
    """Its reason stands in the place of the controls."""
    staged.demo = {"available": False, "why": "others can reach this server", "max_clients": 0, "status": None}
    screen.open(staged.url)
    screen.shows("#demo-why", "There is no demo here: others can reach this server")
    assert [one for one in ("#demo-here", "#demo-button") if screen.is_seen(one)] == []


def test_a_demo_without_the_key(screen: Screen) -> None:
    """The page says what it lacks; with the key the demo can be started."""
    with Staged(api_key="correct-horse") as staged:
        screen.page.goto(staged.url)
        screen.shows("#demo-why", "This server asks for its key: give it above, and the demo can start.")
        assert not screen.is_seen("#demo-button")
        screen.page.fill("#key", "correct-horse")
        screen.page.press("#key", "Enter")
        screen.until("() => !document.querySelector('#demo-here').hidden")
        staged.demo["status"] = demo("connecting")
        screen.page.click("#demo-button")
        screen.shows("#demo-button", "Stop")
        screen.assert_clean(*EXPECTED)


def test_a_demo_that_runs_already(screen: Screen, staged: Staged) -> None:
    """Who opens the page sees it, as far as it has come."""
    staged.demo["status"] = frozen("stopped", 4.0)
    screen.open(staged.url)
    screen.shows("#demo-button", "Stop")
    screen.shows("#side-tutorial .count", "for 4.0 s")
    assert screen.text("#demo-steps [aria-current=step]") == "One stops"


def test_a_demo_that_is_gone(screen: Screen) -> None:
    """With the server that ran it, or while nobody looked: the page does not go on showing it."""
    with Staged() as before:
        before.demo["status"] = demo("calm")
        screen.open(before.url)
        screen.shows("#demo-button", "Stop")
        screen.do(HIDE, True)
        before.wait(lambda: before.listeners("demo") == 0)
        before.demo["status"] = None
        screen.do(HIDE, False)
        screen.shows("#demo-button", "Start")
        before.play(demo("calm"))
        screen.shows("#demo-button", "Stop")
    screen.shows("#demo-story", "The server is away: this is how the story stood.")
    assert screen.page.get_attribute("#demo-story", "class") == "story bad"
    screen.page.click("#demo-button")
    screen.shows("#demo-problem", "The server could not be reached.")
    anew = Staged(port=before.port)
    anew.statuses["live"] = 503  # requests are answered before the connection is there
    with anew:
        screen.shows("#demo-button", "Start")
        assert screen.text("#demo-problem") == ""
        assert screen.page.title() == "Fanwise (lost)"
        anew.statuses.clear()
        anew.tick()
        screen.do("() => window.dispatchEvent(new Event('online'))")
        screen.shows("#connection", "live")
        assert screen.text("#demo-problem") == ""
        screen.shows("#demo-story", "Press Start")


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


def test_the_first_minute(screen: Screen, staged: Staged) -> None:
    """An empty server says how to try it: a command, the chat; with the first client the hint goes, the demo stays."""
    staged.tick()
    screen.open(staged.url)
    screen.until("() => !document.querySelector('#hint').hidden")
    command = f"fanwise bench --clients 200 --rate 50 --duration 60 --url 'ws://127.0.0.1:{staged.port}/ws?channel={{channel}}'"
    assert screen.text("#bench-command") == command
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
        screen.shows("#clients", "up to date")
        screen.page.check("#clients-all")
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


def test_a_real_client_is_disconnected(screen: Screen, serve: Serve) -> None:
    """With the code that says that an operator did it; it is in the log of closed connections after that."""
    server = serve()
    screen.open(address(server))
    with connect(server.url("/ws"), compression=None) as victim:
        screen.page.check("#clients-all")
        screen.rows("clients", 1)
        for _ in range(2):
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
    assert [screen.column("closed", number)[0] for number in (2, 3)] == ["operator", "4503"]
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
    screen.page.check("#clients-all")
    screen.rows("clients", 1)
    for _ in range(2):
        screen.page.click("#clients-table button")
    screen.shows("#clients-outcome", "was closed")
    screen.shows("#chat-b .log", "closed: 4503")
    screen.assert_clean(*EXPECTED)
