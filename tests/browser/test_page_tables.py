"""The live page's tables. The page is loaded once: each test begins with empty tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fanwise.core.reasons import CloseReason

from ..support.documents import WORKER
from ..support.screen import EXPECTED, NOTHING, WIDE, Screen
from ..support.staged import Staged, channel, client, gone


@pytest.fixture(scope="module")
def opened(only_screen: Screen, only_staged: Staged) -> Iterator[Screen]:
    only_screen.open(only_staged.url)
    yield only_screen
    only_screen.forget(WIDE)


@pytest.fixture
def staged(only_staged: Staged) -> Staged:
    """The server, of which nothing was asked yet."""
    only_staged.asked.clear()
    only_staged.statuses.clear()
    return only_staged


@pytest.fixture
def screen(opened: Screen, staged: Staged) -> Screen:
    """The page, with empty tables, and neither focus nor pointer in them."""
    opened.page.mouse.move(0, 0)
    opened.do("() => document.activeElement.blur()")
    staged.figures.clients, staged.figures.closed_clients = [], []
    staged.show()
    for table in ("clients", "closed"):
        opened.rows(table, 0)
    opened.console.clear()
    return opened


def test_rows_stay_where_somebody_is(screen: Screen, staged: Staged) -> None:
    """A row with the focus keeps it whatever comes, also when its client has gone, until the focus leaves."""
    staged.figures.clients = [client(number) for number in (1, 2, 3)]
    staged.show()
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
    staged.show()
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
    staged.show()
    screen.until(f"() => [...document.querySelectorAll('#clients-table td')].some((one) => one.title === '{'x' * 60}')")
    staged.figures.clients = [client(1, channels=["x"])]
    staged.show()
    screen.until("() => document.querySelector('#clients-table td[title^=x]') === null")


def test_a_client_in_its_row(screen: Screen, staged: Staged) -> None:
    """Who it is, how far behind, since when, and how it is served."""
    behind = client(9, lag=1200, lag_bytes=2000, buffered_bytes=500, behind_seconds=3.5, rtt_seconds=None)
    staged.figures.clients = [{**behind, "channels": ["a", "b"], "subscriptions": 12, "path": "asgi"}]
    staged.show()
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
    staged.show()
    screen.rows("clients", 3)
    assert screen.page.locator("#clients-outcome").get_attribute("role") == "status"
    screen.page.locator("#clients-table button").nth(0).dblclick()
    assert screen.text("#clients-table button") == "Really?"
    screen.page.locator("#clients-table button").nth(1).focus()
    assert screen.text("#clients-table button") == "Disconnect"
    assert staged.asked == []
    for _ in range(2):
        screen.page.locator("#clients-table button").nth(0).press("Enter")
    screen.shows("#clients-outcome", "Client a b/c?d was closed.")
    assert screen.page.locator("#clients-table button").nth(0).get_attribute("aria-disabled") == "true"
    screen.page.locator("#clients-table button").nth(0).press("Enter")  # once is enough
    for _ in range(2):
        screen.page.locator("#clients-table button").nth(1).press("Space")
    screen.shows("#clients-outcome", "has gone already")
    for _ in range(2):
        screen.page.locator("#clients-table button").nth(2).click()
    screen.shows("#clients-outcome", "was not closed: refused <b>with</b> 403")
    assert screen.page.locator("#clients-table button").nth(2).get_attribute("aria-disabled") is None
    ids = ["clients/a b/c?d", f"clients/{2:016x}", f"clients/{3:016x}"]
    assert staged.asked == [("DELETE", path, None) for path in ids]
    screen.assert_clean(*EXPECTED)


def test_the_log_of_closed_connections(screen: Screen, staged: Staged) -> None:
    """200 of them, the latest first, with what the server said of each."""
    staged.figures.closed_clients = [gone(number, CloseReason.NO_PONG, lag=1025) for number in range(200)]
    staged.show()
    screen.rows("closed", 200)
    assert [screen.column("closed", number)[1] for number in range(1, 7)] == [
        "11:59:59",
        "no pong",
        "4012",
        "1,025",
        f"{1:016x}",
        "10.0.1.1:30001",
    ]
    staged.figures.closed_clients = [gone(1000), *staged.figures.closed_clients[:199]]
    staged.show()
    screen.until("() => document.querySelector('#closed-table td:nth-child(5)').textContent.endsWith('3e8')")
    assert len(screen.column("closed", 1)) == 200
    screen.page.select_option("#closed-cause", label="slow (1)")
    screen.rows("closed", 1)
    screen.page.select_option("#closed-cause", "")
    screen.rows("closed", 200)


def test_an_engine_has_a_tile(screen: Screen, staged: Staged) -> None:
    """Whether it is there, and how far this server is behind; no tile where there is no engine."""
    assert not screen.is_seen("#tile-engine")
    engine = {"up": True, "engine": "valkey 9.1.2", "why": "", "behind": 1200, "silent_seconds": 0.2}
    staged.figures.stats["backplane"] = engine
    staged.tick()
    screen.shows("#tile-engine", "up")
    assert screen.text("#tile-engine dd") == "up 1,200 behind"
    engine.update(up=False, why="it does not answer", silent_seconds=75)
    staged.tick()
    screen.shows("#tile-engine", "away")
    assert screen.text("#tile-engine dd") == "away for 75 s"
    assert screen.page.locator("#tile-engine").get_attribute("title") == "it does not answer"
    screen.assert_clean(*EXPECTED)


def test_workers_are_one_picture(screen: Screen, staged: Staged) -> None:
    """A row for each with its rates, and a column in the other tables; nothing of it where there is one process."""
    figures = staged.figures
    other = {**WORKER, "worker": "0000000b", "host": "<b>", "ready": False}
    figures.clients = [{**client(1), "worker": "3f9a01c4"}]
    figures.channels = [{**channel("lobby"), "workers": ["0000000b", "3f9a01c4"]}]
    figures.closed_clients = [{**gone(2), "worker": "0000000b"}]
    figures.stats.update(workers=[other, WORKER], silent=["0000000b"])
    staged.tick()
    screen.rows("workers", 2)
    grown = {"uptime_seconds": 14.5, "publications": 600, "deliveries": 30_500, "cpu_seconds": 1.1}
    figures.stats["workers"] = [other, {**WORKER, **grown}]
    staged.tick()
    staged.show()
    screen.rows("clients", 1)
    screen.shows("#workers-table", "25 %")
    rows = [screen.column("workers", number) for number in range(1, 13)]
    assert [column[1] for column in rows] == [
        *("3f9a01c4", "front-1", "42", "ready", "105", "3", "50.0 /s", "5,000 /s"),
        *("25 %", "400 µs", "34.6 MB", "14 s"),
    ]
    assert [column[0] for column in rows[:4]] == ["0000000b", "<b>", "42", "silent"]
    assert screen.text("#workers-silent") == "No answer within 300 ms: 0000000b"
    assert screen.text("#runtime") == "2 workers, 1 silent"
    assert (screen.column("clients", 10), screen.column("closed", 7)) == (["3f9a01c4"], ["0000000b"])
    assert screen.column("channels", 9) == ["2"]
    assert screen.is_seen("#clients-table td.of-workers")
    screen.assert_clean(*EXPECTED)
    del figures.stats["workers"], figures.stats["silent"]
    figures.channels = []
    staged.tick()
    screen.until("() => !document.body.classList.contains('has-workers')")
    assert not screen.is_seen("#workers")


def test_who_is_up_to_date_is_counted(screen: Screen, staged: Staged) -> None:
    """And listed only when that is asked for. Where nobody is behind, a line says so in place of a table."""
    staged.figures.clients = [client(1, lag=7), client(2, state="ready")]
    staged.tick(clients=48, behind=1)
    staged.show()
    screen.rows("clients", 1)
    screen.shows("#clients-others", "47 others are up to date.")
    screen.page.check("#clients-all")
    screen.rows("clients", 2)
    screen.page.uncheck("#clients-all")
    staged.figures.clients = [client(2, state="ready")]
    staged.tick(clients=47, behind=0)
    staged.show()
    screen.shows("#clients-empty", "47 clients are up to date, and nobody is behind.")
    screen.page.wait_for_selector("#clients-empty", state="visible")
    screen.page.wait_for_selector("#clients .scroll", state="hidden")
    assert screen.text("#clients-others") == ""
    staged.tick(clients=0)


def test_channels_of_our_own_programs_are_marked(screen: Screen, staged: Staged) -> None:
    """Others are as they are called."""
    names = {"fanwise.demo": "demo", "fanwise.doctor.1": "doctor", "lobby": None}
    staged.figures.channels = [channel(name, program=program) for name, program in names.items()]
    staged.show()
    screen.rows("channels", 3)
    assert screen.column("channels", 1) == ["fanwise.demo (the demo's)", "fanwise.doctor.1 (the doctor's)", "lobby"]
    staged.figures.channels = []
