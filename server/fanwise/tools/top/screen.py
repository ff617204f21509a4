"""A picture on a terminal, drawn with rich. Takes the whole screen, and gives the screen back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from .picture import Picture, Table

_TILES_IN_A_ROW = 4
_FRAME_LINES = 2  # of a table, beside its rows: an empty line and the names of the columns


class Screen:
    """Draws each picture over the last one.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, picture: Picture | None, trouble: str) -> None:
        """Draws the picture; a line about trouble stands above."""
        parts: list[RenderableType] = []
        if trouble:
            parts.append(Text(trouble, style="bold red"))
        if picture is not None:
            parts += [Text(picture.head, no_wrap=True, overflow="ellipsis"), Text(""), _tiles(picture)]
            taken = len(picture.tiles) // _TILES_IN_A_ROW * 2 + 2 + 2 * bool(trouble)
            room = self._console.height - taken - _FRAME_LINES * len(picture.tables)
            for table, lines in zip(
                picture.tables, allot(room, [len(one.rows) for one in picture.tables]), strict=True
            ):
                if table.rows:
                    parts += [Text(""), _grid(table, lines)]
        self._live.update(Group(*parts), refresh=True)


def allot(room: int, wanted: Sequence[int]) -> list[int]:
    """Returns each table's lines: `room` shared out evenly, and none gets more than it wants."""
    given = [0] * len(wanted)
    while room > 0 and (hungry := [place for place, want in enumerate(wanted) if given[place] < want]):
        for place in hungry[:room]:
            given[place] += 1
        room -= len(hungry)
    return given


def _tiles(picture: Picture) -> Grid:
    grid = Grid.grid(padding=(0, 3), expand=True)
    for _ in range(_TILES_IN_A_ROW):
        grid.add_column(no_wrap=True, ratio=1)
    for start in range(0, len(picture.tiles), _TILES_IN_A_ROW):
        tiles = picture.tiles[start : start + _TILES_IN_A_ROW]
        grid.add_row(*(Text(value, style="bold") for _, value in tiles))
        grid.add_row(*(Text(name, style="dim") for name, _ in tiles))
    return grid


def _grid(table: Table, lines: int) -> Grid:
    grid = Grid(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style="reverse")
    for column in table.columns:
        grid.add_column(
            Text(column.name), justify="right" if column.numbers else "left", no_wrap=True, overflow="ellipsis"
        )
    for row in table.rows[:lines]:
        grid.add_row(*(Text(cell) for cell in row))  # Text: what a stranger chose is not markup
    return grid
