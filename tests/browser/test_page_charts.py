"""The charts of the live page: one crosshair for all, pauses, five minutes or an hour, thresholds, labels of axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from websockets.sync.client import connect

from fanwise.core.reasons import CloseReason

from ..support.processes import ServerProcess
from ..support.screen import EXPECTED, NOTHING, Screen
from ..support.staged import NOON, Staged, gone, past_point

CHARTS = ("deliveries", "latency", "lag", "drops", "loop", "memory")
# What the last paint wrote on each canvas, by the id of its figure. A tab keeps such scripts: only the first one works.
WRITTEN = """
    const first = window.written === undefined;
    window.written ??= {};
    const proto = CanvasRenderingContext2D.prototype;
    const {fillText, clearRect} = proto;
    const of = (ctx) => ctx.canvas.closest("figure")?.id ?? "";
    if (first) {
        proto.clearRect = function (...args) { window.written[of(this)] = []; return clearRect.apply(this, args); };
        proto.fillText = function (text, ...args) {
            (window.written[of(this)] ??= []).push(text);
            return fillText.call(this, text, ...args);
        };
    }
"""
FIRST_IS_TO_COME_OR_HERE = """async () =>
  document.querySelector('#charts-state').textContent.includes('the first one is to come')
  || (await (await fetch('stats/past')).json()).points.length > 0"""
MOMENTS = "() => [...document.querySelectorAll('.charts .moment')].map((one) => one.textContent)"


@pytest.fixture
def watched(screen: Screen, staged: Staged) -> Staged:
    """A server of which each chart has something to show, in a page that notes what is written on it."""
    screen.page.add_init_script(WRITTEN)
    staged.tick()
    for _ in range(20):
        staged.tick(
            totals={"publications": 5, "deliveries": 100},
            dropped={"gap_slow": 2},
            ages={0.0015: 90},
            late={0.4: 10},
            lags={0: 4, 12: 4},
            clients=2,
            retained_bytes=1_000_000,
        )
    return staged


def point_at(screen: Screen, chart: str, share: float) -> None:
    """Moves the pointer over a chart, to a share of its width."""
    screen.page.locator(f"#chart-{chart}").scroll_into_view_if_needed()
    box: Any = screen.page.locator(f"#chart-{chart} .u-over").bounding_box()
    screen.page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def written(screen: Screen, chart: str) -> list[str]:
    found: list[str] = screen.do("(id) => window.written[id] ?? []", f"chart-{chart}")
    return found


def test_one_crosshair_reads_all_charts(screen: Screen, watched: Staged) -> None:
    """Pointing at one says the values of that time on each; away from it they are the newest."""
    watched.tick(totals={"deliveries": 7})
    screen.open(watched.url)
    screen.shows("#chart-deliveries .legend", "7.0 /s")
    point_at(screen, "latency", 1 - 10 / 300)
    one_time = "(all) => new Set(all).size === 1 && /at 12:00:1[0-4]/.test(all[0])"
    screen.until(f"() => ({one_time})(({MOMENTS})())")
    screen.shows("#chart-deliveries .legend", "100 /s")
    screen.shows("#chart-latency .legend", "p99 2.0 ms")
    screen.shows("#chart-lag .legend", "furthest behind 9 to 16")
    screen.shows("#chart-drops .legend", "gap: slow 2.0 /s")
    height = "() => document.querySelector('#chart-latency').getBoundingClientRect().height"
    before = screen.do(height)
    point_at(screen, "memory", 0.5)  # where there is no point yet
    screen.shows("#chart-deliveries .legend", f"deliveries {NOTHING}")
    assert screen.do(height) == before
    screen.page.mouse.move(0, 0)
    screen.until(f"() => ({MOMENTS})().every((one) => one === '')")
    screen.shows("#chart-deliveries .legend", "7.0 /s")
    screen.assert_clean()


def test_the_crosshair_by_keyboard(screen: Screen, watched: Staged) -> None:
    """A slider moves it on all charts, says the time, and lets go of it at its end, or when the pointer takes it."""
    watched.tick(totals={"deliveries": 7})
    screen.open(watched.url)
    screen.shows("#chart-deliveries .legend", "7.0 /s")
    screen.page.focus("#charts-at")
    for _ in range(10):
        screen.page.keyboard.press("ArrowLeft")
    screen.shows("#chart-deliveries .legend", "100 /s")
    screen.until(f"() => new Set(({MOMENTS})()).size === 1 && ({MOMENTS})()[0].startsWith('at 12:00:1')")
    assert str(screen.page.get_attribute("#charts-at", "aria-valuetext")).startswith("12:00:1")
    screen.page.keyboard.press("End")
    screen.shows("#chart-deliveries .legend", "7.0 /s")
    screen.until(f"() => ({MOMENTS})().every((one) => one === '')")
    screen.page.keyboard.press("Home")
    screen.shows("#chart-deliveries .legend", f"deliveries {NOTHING}")
    point_at(screen, "latency", 0.99)
    assert screen.page.input_value("#charts-at") == "300"
    screen.assert_clean()


def test_a_pause_loses_nothing(screen: Screen, watched: Staged) -> None:
    """Charts stand still and say since when; tiles go on; then the charts have what came meanwhile."""
    screen.open(watched.url)
    screen.shows("#chart-deliveries .legend", "100 /s")
    screen.page.click("#charts-pause")
    screen.shows("#charts-state", "Paused at 12:00:21: what comes is kept.")
    assert screen.text("#charts-pause") == "Go on"
    assert screen.page.get_attribute("#charts-state", "role") == "status"
    for number in range(1, 6):
        for _ in range(6):
            watched.tick(totals={"deliveries": number})
    screen.shows("#tile-deliveries", "5.0 /s")
    assert "100 /s" in screen.text("#chart-deliveries .legend")
    screen.page.click("#range-hour")
    screen.page.click("#range-minutes")
    assert "100 /s" in screen.text("#chart-deliveries .legend")
    screen.page.click("#charts-pause")
    screen.shows("#chart-deliveries .legend", "5.0 /s")
    assert screen.text("#charts-state") == ""
    for back, rate in ((2.5, "5.0 /s"), (14.5, "3.0 /s"), (20.5, "2.0 /s"), (26.5, "1.0 /s"), (33, "100 /s")):
        point_at(screen, "deliveries", 1 - back / 300)
        screen.shows("#chart-deliveries .legend", rate)


def test_an_hour_of_a_page_that_was_opened_late(screen: Screen, watched: Staged) -> None:
    """It is asked for when it is wanted, and the page goes on with it."""
    begin = NOON - 3588
    points = [past_point(begin + 12 * number, deliveries=120) for number in range(299)]
    lag = {"lag_messages": [[0, 40], [9, 8]], "ready_age_seconds": [[6, 1000]]}
    points[100].update(dropped={"closed_slow": 24}, closed={"slow": 1, "normal": 5}, histograms=lag, clients=48)
    watched.past["points"] = points
    screen.open(watched.url)
    screen.shows("#chart-deliveries .legend", "100 /s")
    assert not [url for url in screen.requests if "past" in url]
    screen.page.click("#range-hour")
    screen.shows("#chart-drops .legend", "closed: slow")
    assert screen.page.get_attribute("#range-hour", "aria-pressed") == "true"
    newest = NOON + 12  # a point of the page's own, after those of the server
    screen.until("() => document.querySelector('#chart-deliveries .legend').textContent.includes('100 /s')")
    point_at(screen, "deliveries", 1 - (newest - points[100]["at"]) / 3600)
    screen.shows("#chart-drops .legend", "closed: slow 2.0 /s")
    screen.shows("#chart-deliveries .legend", "10.0 /s")
    screen.shows("#chart-lag .legend", "up to date 83.3 %furthest behind 129 to 256clients 48")
    screen.shows("#chart-latency .legend", "p99 995 µs")
    for _ in range(12):
        watched.tick(totals={"deliveries": 30})
    screen.page.mouse.move(0, 0)
    screen.shows("#chart-deliveries .legend", "82.5 /s")  # 9 s of 100 and 3 s of 30 a second
    screen.assert_clean()


def test_a_server_that_has_no_hour(screen: Screen, watched: Staged) -> None:
    """What is wrong stands where the range was chosen; a young server says when its first point comes."""
    screen.open(watched.url)
    watched.statuses["past"] = 503
    screen.page.click("#range-hour")
    screen.shows("#charts-state", "The server does not tell its last hour")
    screen.page.click("#range-minutes")
    assert screen.text("#charts-state") == ""
    screen.assert_clean(*EXPECTED)


def test_an_hour_of_workers(screen: Screen, watched: Staged) -> None:
    """Sums are of those that are there now, and the page says so."""
    points = [past_point(NOON - 36, workers=1), past_point(NOON - 24, workers=2), past_point(NOON - 12, workers=2)]
    watched.past.update(workers=[{}, {}, {}], silent=["0000000b"], points=points)
    screen.open(watched.url)
    screen.page.click("#range-hour")
    words = "The hour of the 2 workers that run now, without 0000000b. Before 11:59:36 there were fewer of them."
    screen.shows("#charts-state", words)
    watched.past["points"] = points[1:]
    screen.page.click("#range-hour")
    screen.shows("#charts-state", "without 0000000b.")
    screen.until("() => !document.querySelector('#charts-state').textContent.includes('fewer')")


def test_thresholds(screen: Screen, watched: Staged) -> None:
    """Of the settings, with their names; one that is out of reach is named beside the chart, and is drawn near it."""
    screen.open(watched.url)
    screen.shows("#chart-memory .legend", "memory_bytes, 1.1 GB")
    screen.page.wait_for_selector("#chart-memory .legend li:last-child", state="visible")
    late = "/readyz fails: ready_lag_seconds, 1.0 s"
    screen.until("(late) => window.written['chart-loop'].includes(late)", late)
    label = screen.page.get_attribute("#chart-loop .plot", "aria-label")
    assert str(label).endswith(f"The dashed line is {late}.")
    screen.until("() => window.written['chart-lag'].includes('queue limit 1,024, by queue_messages')")
    watched.figures.forgiven = {"seconds": 2.0, "bound": "queue_bytes", "hidden_seconds": 0.0, "channel": "lobby"}
    watched.figures.forgiven["limit"] = {"messages": 77, "bound": "queue_bytes"}
    watched.show()
    watched.tick(rss_bytes=900_000_000)
    screen.until("() => window.written['chart-lag'].includes('queue limit 77, by queue_bytes')")
    screen.until("() => window.written['chart-memory'].includes('memory_bytes, 1.1 GB')")
    assert not screen.is_seen("#chart-memory .legend li:last-child")


def test_a_value_without_neighbours_is_seen(screen: Screen, staged: Staged) -> None:
    """As a point, where no line goes through it."""
    for late in ({}, {}, {0.4: 10}, {}, {}):
        staged.tick(totals={"deliveries": 10}, ages={0.0015: 10}, late=late)
    screen.open(staged.url)
    screen.shows("#chart-deliveries .legend", "10.0 /s")
    screen.paints("#chart-latency canvas", (180, 83, 9))


@pytest.mark.parametrize("width", [1280, 390])
def test_axes_have_labels_at_each_range(screen: Screen, watched: Staged, width: int) -> None:
    """At least three times, none of them twice, and two values."""
    screen.page.set_viewport_size({"width": width, "height": 900})
    watched.past["points"] = [past_point(NOON - 12 * number, deliveries=9) for number in range(290, 0, -1)]
    screen.open(watched.url)
    screen.shows("#chart-deliveries .legend", "100 /s")
    for name in ("minutes", "hour", "minutes"):
        screen.page.click(f"#range-{name}")
        screen.until("() => window.written['chart-memory'].length > 4")
        for chart in CHARTS:
            texts = written(screen, chart)
            times = [one for one in texts if one[:2].isdigit() and one[2:3] == ":"]
            assert len(times) >= 3, (name, chart, texts)
            assert len(times) == len(set(times)), (name, chart, texts)
            assert len(texts) - len(times) >= 2, (name, chart, texts)


def test_a_lost_server_keeps_its_charts(screen: Screen) -> None:
    """As they are of the past; what would change them is not offered while nothing comes."""
    with Staged() as staged:
        staged.busy()
        screen.open(staged.url)
        screen.shows("#connection", "live")
    screen.shows("#connection", "lost")
    assert screen.is_seen("#chart-deliveries")
    assert not screen.is_seen("#charts-pause")


def test_closed_connections_by_cause(screen: Screen, staged: Staged) -> None:
    """The box has the causes that there are, and their numbers."""
    staged.figures.closed_clients = [gone(1), gone(2), gone(3, CloseReason.OPERATOR)]
    screen.open(staged.url)
    screen.rows("closed", 3)
    screen.page.select_option("#closed-cause", "operator")
    screen.rows("closed", 1)
    assert screen.column("closed", 2) == ["operator"]


def test_the_hour_of_a_real_server(screen: Screen, serve: Callable[..., ServerProcess]) -> None:
    """Its first point comes within twelve seconds, and is there for a page that is opened after that."""
    server = serve()
    screen.open(f"http://127.0.0.1:{server.port}/")
    screen.page.click("#range-hour")
    screen.until(FIRST_IS_TO_COME_OR_HERE)
    with connect(server.url("/ws?channel=fanwise.doctor.0"), compression=None) as client:
        client.send("x")
        client.recv()
        screen.until("async () => (await (await fetch('stats/past')).json()).points.some((one) => one.deliveries > 0)")
        screen.open(f"http://127.0.0.1:{server.port}/")
        screen.page.click("#range-hour")
        screen.until("() => /deliveries \\d/.test(document.querySelector('#chart-deliveries .legend').textContent)")
        screen.shows("#channels-table", "fanwise.doctor.0 (the doctor's)")
    screen.assert_clean()
