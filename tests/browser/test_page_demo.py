"""The live page's demo: what it asks for and shows, with a server whose stories are made up. It is loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..support.screen import CONTRASTS, EXPECTED, WIDE, Screen
from ..support.staged import Staged, demo, frozen

CELLS = """(mode) => {
    const found = {};
    for (const one of document.querySelectorAll(`#side-${mode} .cell`)) {
        const look = one.className.replace("cell ", "");
        found[look] = (found[look] ?? 0) + 1;
    }
    return found;
}"""


@pytest.fixture(scope="module")
def opened(only_screen: Screen, only_staged: Staged) -> Iterator[Screen]:
    only_screen.open(only_staged.url)
    only_staged.wait(lambda: only_staged.listeners("demo") == 1)
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
    """The page after a story that was stopped, with the form as it was when it was loaded."""
    staged.play(demo("calm", running=False))
    opened.shows("#demo-story", "The story was stopped before its end.")
    opened.do(
        """() => {
            document.activeElement.blur();
            document.querySelector("#demo-form").reset();
            document.querySelector("#demo-problem").textContent = "";
        }"""
    )
    opened.console.clear()
    return opened


def test_one_click_starts_the_story(screen: Screen, staged: Staged) -> None:
    """With the server's own numbers; another click stops it, and then it can be played again."""
    staged.demo["status"] = demo("connecting")
    screen.page.click("#demo-button")
    screen.shows("#demo-button", "Stop")
    assert staged.asked == [("PUT", "demo", {})]
    screen.page.click("#demo-button")
    staged.wait(lambda: staged.asked[-1] == ("DELETE", "demo", None))
    staged.play(demo("calm", running=False))
    screen.shows("#demo-button", "Play again")
    screen.assert_clean()


def test_two_clicks_in_a_row_are_one(screen: Screen, staged: Staged) -> None:
    """The second one comes before the answer to the first."""
    staged.demo["status"] = demo("connecting")
    screen.do("() => { for (let i = 0; i < 5; i += 1) document.querySelector('#demo-button').click(); }")
    screen.shows("#demo-button", "Stop")
    assert staged.asked == [("PUT", "demo", {})]


def test_other_numbers_are_asked_for(screen: Screen, staged: Staged) -> None:
    """Those that were changed; Enter starts, and never stops what is played."""
    screen.page.click("#demo-numbers summary")
    screen.page.fill("[name=clients]", "9")
    staged.demo["status"] = demo("connecting", clients=9)
    screen.page.press("[name=rate]", "Enter")
    screen.shows("#demo-button", "Stop")
    assert staged.asked == [("PUT", "demo", {"clients": 9})]
    screen.page.press("[name=rate]", "Enter")
    assert screen.do(CELLS, "fanwise") == {"served": 8, "one served": 1}
    assert staged.asked == [("PUT", "demo", {"clients": 9})]
    screen.page.click("#demo-numbers summary")


def test_what_the_demo_cannot_do(screen: Screen, staged: Staged) -> None:
    """Numbers that make no sense are not asked for; what the server refuses is said."""
    screen.page.click("#demo-numbers summary")
    screen.page.fill("[name=clients]", "1000")
    screen.page.click("#demo-button")
    assert screen.do("() => document.querySelector('[name=clients]:invalid') !== null")
    assert staged.asked == []
    staged.statuses["demo"] = 400
    screen.page.fill("[name=clients]", "10")
    screen.page.click("#demo-button")
    screen.shows("#demo-problem", "refused <b>with</b> 400")
    screen.page.click("#demo-numbers summary")
    screen.assert_clean(*EXPECTED)


def test_a_story_that_goes_as_planned(screen: Screen, staged: Staged) -> None:
    """In one sentence, two numbers, a cell for each client, a line for the one that stops; told when it turns."""
    staged.play(demo("calm"))
    screen.shows("#demo-story", "All clients read. Both sides deliver the same messages.")
    for mode in ("tutorial", "fanwise"):
        assert screen.text(f"#side-{mode} .count") == "80/s 4 of 4 served"
        assert screen.do(CELLS, mode) == {"served": 4, "one served": 1}
        assert screen.text(f"#side-{mode} .one-says") == "The marked client reads like all others."
    staged.play(frozen("stopped", 7.2))
    screen.shows("#demo-story", "Left, all wait for the one client that does not read. Right, nobody notices.")
    assert screen.text("#demo-news") == screen.text("#demo-story")
    assert screen.text("#side-tutorial .count") == "0/s for 7.2 s"
    assert screen.text("#side-fanwise .count") == "80/s 4 of 4 served"
    assert screen.do(CELLS, "tutorial") == {"silent": 4, "one stopped": 1}
    assert screen.do(CELLS, "fanwise") == {"served": 4, "one stopped": 1}
    told = screen.page.get_attribute("#side-tutorial .cells", "aria-label")
    assert told == "5 clients; 0/s received, for 7.2 s."
    staged.play(frozen("dropped", 8.0, reason="4008 slow"))
    screen.shows("#demo-story", "Fanwise has dropped the client that does not read (4008 slow). The loop still waits.")
    assert screen.text("#side-fanwise .one-says") == "The marked client was dropped (4008 slow). It may come back."
    assert screen.do(CELLS, "fanwise") == {"served": 4, "one dropped": 1}
    back: dict[str, Any] = {"reason": "4008 slow", "returned": True, "retained": 163}
    staged.play(frozen("returning", 8.5, **{**back, "retained": 13}))
    screen.shows("#side-fanwise .one-says", "The marked client is coming back: 13 retained messages so far.")
    staged.play(frozen("back", 9.0, **{**back, "retained": 160}))
    screen.shows("#demo-story", "The client is back, and has got 160 retained messages that it had missed.")
    sentence = screen.text("#demo-news")
    assert screen.do(CELLS, "fanwise") == {"served": 4, "one back": 1}
    staged.play(frozen("back", 9.5, **back))
    screen.shows("#demo-story", "has got 163 retained messages")
    assert screen.text("#demo-news") == sentence, "said once, not four times a second"
    staged.play(frozen("over", 9.6, running=False, **back))
    screen.shows(
        "#demo-story", "the loop kept 4 others waiting for 9.6 s. Fanwise kept nobody waiting, and lost nothing."
    )
    screen.shows("#demo-button", "Play again")
    screen.assert_clean()


ENDINGS: list[tuple[dict[str, Any], str]] = [
    (
        frozen("over", 9.0, running=False),
        "Fanwise has not dropped that client yet: the settings forgive a longer pause.",
    ),
    (frozen("over", 9.0, running=False, reason="4008 slow"), "dropped that client, which did not get back in."),
    (demo("over", running=False), "The loop was not held up: the kernels still took what one client did not read."),
    (
        frozen("over", 9.0, running=False, reason="4008 slow", returned=True, retained=90, lost=10),
        "Fanwise kept nobody waiting.",
    ),
]


def test_a_story_that_does_not(screen: Screen, staged: Staged) -> None:
    """It says what has happened, and nothing else."""
    for document, told in ENDINGS:
        staged.play(document)
        screen.shows("#demo-story", told)
    assert screen.text("#side-fanwise .one-says").endswith(
        "90 retained messages received, 10 messages no longer retained."
    )
    document = demo("calm")
    for one, code in zip(document["sides"]["fanwise"]["clients"][-2:], (1006, None), strict=True):
        one.update(connected=False, code=code)
    staged.play(document)
    screen.shows("#side-fanwise .count", "2 of 4 served")
    assert screen.do(CELLS, "fanwise") == {"served": 2, "away": 2, "one served": 1}


def test_both_sides_are_drawn(screen: Screen, staged: Staged) -> None:
    """What was delivered, in green; in red where nothing was."""
    green, red = (6, 118, 71), (180, 35, 24)
    for seconds in range(2, 6):
        staged.play(demo("calm", seconds=float(seconds)))
    for seconds in range(6, 9):
        staged.play(frozen("stopped", seconds - 5.0, at=float(seconds)))
    for mode, seen in (("tutorial", {green, red}), ("fanwise", {green})):
        for colour in (green, red):
            screen.paints(f"#side-{mode} canvas", colour, isnt=colour not in seen)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(screen: Screen, staged: Staged, scheme: Any) -> None:
    """In both themes, at each step: the contrast that WCAG AA asks for."""
    screen.page.emulate_media(color_scheme=scheme)
    back: dict[str, Any] = {"reason": "4008 slow", "returned": True, "retained": 163}
    for document in (demo("calm"), frozen("stopped", 3.0), frozen("dropped", 4.0, reason="4008 slow")):
        staged.play(document)
        screen.until("(phase) => document.querySelector('#demo-steps .now') !== null")
        assert screen.do(CONTRASTS) == []
    staged.play(frozen("over", 4.0, running=False, **back))
    screen.shows("#demo-button", "Play again")
    assert screen.do(CONTRASTS) == []


def test_nothing_pulses_for_those_who_asked_for_that(screen: Screen, staged: Staged) -> None:
    """Cells of clients that are served pulse while a story is played; for others nothing moves."""
    motions: list[tuple[Any, int]] = [("no-preference", 10), ("reduce", 0)]
    for motion, moving in motions:
        screen.page.emulate_media(reduced_motion=motion)
        staged.play(demo("calm"))
        screen.shows("#demo-button", "Stop")
        animated = "[...document.querySelectorAll('.cell')].flatMap((one) => one.getAnimations())"
        playing = f"{animated}.filter((one) => one.animationName === 'heard').length"
        screen.until(f"(moving) => {playing} === moving", moving)
        assert screen.do(f"() => {animated}.length") >= moving
    staged.play(demo("calm", running=False))
    screen.shows("#demo-button", "Play again")
    assert screen.do(f"() => {playing}") == 0
