from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from fanwise.tools.top.picture import Picture, paint
from fanwise.tools.top.screen import Screen, allot

from ...support.documents import CHANNEL, CLIENT, CLOSED, document

FULL = document(
    clients=[{**CLIENT, "id": f"client{number}"} for number in range(20)],
    channels=[{**CHANNEL, "name": f"channel{number}"} for number in range(20)],
    closed_clients=[{**CLOSED, "id": f"closed{number}"} for number in range(200)],
)


def drawn(picture: Picture | None, trouble: str = "", *, width: int = 100, height: int = 30) -> list[str]:
    """What stands on the screen, line by line."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, height=height)
    with Screen(console) as screen:
        screen.show(picture, trouble)
        text = stream.getvalue()
    _, _, frame = text.rpartition("\x1b[H")
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame).split("\n")]


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (200, 60), (40, 12)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    """However large that is, and however much there is to show: each table has a row, as long as there is room."""
    lines = drawn(paint(FULL, None), width=width, height=height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    if height >= 24:
        shown = "\n".join(lines)
        assert all(first in shown for first in ("client0", "channel0", "closed0"))
        assert not lines[-1] or "closed" in lines[-1]


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (200, 60)])
@pytest.mark.parametrize("served", [FULL, document()], ids=["much", "little"])
def test_it_takes_the_whole_screen(served: dict[str, Any], width: int, height: int) -> None:
    """The keys stand in the last line; room that tables leave goes to charts of what was."""
    picture = paint(served, None)
    past = {tile.name: [None, *map(float, range(1, 300))] for tile in picture.tiles}
    lines = drawn(picture._replace(foot="q quit", past=past), width=width, height=height)
    assert len(lines) == height
    assert lines[-1].startswith("q quit")
    assert any("█" in line for line in lines)
    has_charts = height == 60 or (height == 30 and served is not FULL)
    assert (sum("deliveries/s" in line for line in lines) == 2) is has_charts


def test_the_numbers_are_there() -> None:
    """Head, tiles and tables."""
    lines = drawn(paint(document(), None))
    assert lines[0].startswith("Fanwise 0.1.0 on Python 3.11.7")
    shown = "\n".join(lines)
    for text in ("205, 3 behind", "deliveries/s", "98049d8164be3b02", "12.3 KB", "messages/s", "59.8", "4008"):
        assert text in shown


def test_trouble_stands_above_the_last_picture() -> None:
    """And alone, while there has been none."""
    lines = drawn(paint(document(), None), "no answer")
    assert lines[0] == "no answer"
    assert lines[1].startswith("Fanwise 0.1.0")
    assert drawn(None, "no answer")[0] == "no answer"


def test_markup_of_strangers_is_text() -> None:
    """A channel may not be called so, but what a server says is not obeyed either."""
    shown = "\n".join(drawn(paint(document(channels=[{**CHANNEL, "name": "[red]x[/red][/]"}]), None)))
    assert "[red]x[/red][/]" in shown


def test_the_terminal_is_given_back() -> None:
    """As it was before: the screen of the shell, with a cursor."""
    stream = io.StringIO()
    with Screen(Console(file=stream, force_terminal=True, width=80, height=24)) as screen:
        screen.show(paint(document(), None), "")
        assert "\x1b[?1049l" not in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[?25h\x1b[?1049l") or "\x1b[?1049l" in stream.getvalue()


@pytest.mark.parametrize(
    ("room", "wanted", "given"),
    [
        (9, [20, 20, 20], [3, 3, 3]),
        (10, [20, 20, 20], [4, 3, 3]),
        (10, [20, 1, 0], [9, 1, 0]),
        (10, [2, 1, 0], [2, 1, 0]),
        (1, [5, 5, 5], [1, 0, 0]),
        (-3, [5, 5, 5], [0, 0, 0]),
        (5, [], []),
    ],
)
def test_lines_are_shared_out_evenly(room: int, wanted: list[int], given: list[int]) -> None:
    """What one table does not need goes to the others."""
    assert allot(room, wanted) == given
