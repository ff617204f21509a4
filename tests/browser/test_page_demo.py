"""The live page's demo. The page is loaded once: each test begins with a demo that has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..support.screen import EXPECTED, WIDE, Screen
from ..support.staged import Staged, demo


@pytest.fixture(scope="module")
def opened(only_screen: Screen, only_staged: Staged) -> Iterator[Screen]:
    only_screen.open(only_staged.url)
    only_screen.until("() => !document.querySelector('#demo-here').hidden")
    yield only_screen
    only_screen.forget(WIDE)


@pytest.fixture
def staged(only_staged: Staged) -> Staged:
    """The server, of which nothing was asked yet."""
    only_staged.asked.clear()
    only_staged.statuses.clear()
    only_staged.demo["status"] = None
    return only_staged


@pytest.fixture
def screen(opened: Screen, staged: Staged) -> Screen:
    """The page, with the form as it is when it was loaded."""
    staged.play(demo(running=False))
    opened.shows("#demo-story", "The demo is not running.")
    opened.shows("#demo-button", "Start")
    opened.do(
        """() => {
            document.activeElement.blur();
            document.querySelector("#demo-form").reset();
            document.querySelector("#demo-problem").textContent = "";
        }"""
    )
    opened.console.clear()
    return opened


def test_the_demo_is_started_and_changed(screen: Screen, staged: Staged) -> None:
    """Start asks with what stands in the form; a change of the mode, or of a number, asks again; Stop ends it."""
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


def test_the_form_follows_what_others_change(screen: Screen, staged: Staged) -> None:
    """All of it, but for what somebody is typing."""
    staged.play(demo())
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
