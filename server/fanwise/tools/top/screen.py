"""A picture on a terminal, drawn with rich. Takes the whole screen, and gives the screen back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from .picture import Picture, Table, Tile
from .trends import spark

_TILE_COLUMNS = 20  # of a tile, at least
_TILE_LINES = 3  # value, name, and a line over time
_FRAME_LINES = 2  # of a table, beside its rows: an empty line and the names of the columns
_CHARTED = ("deliveries/s", "p99, ready clients")  # that get larger charts where there is room
_CHART_LINES, _MOST_CHART_LINES = 3, 12
_TALL = 45  # lines of a screen that has charts however long the tables are
_TONES: Final = {"": "bold", "good": "bold green", "warn": "bold yellow", "bad": "bold red"}


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
        parts: list[RenderableType] = [_line(trouble, "bold red")] if trouble else []
        if picture is not None:
            width, height = self._console.size
            parts += _parts(picture, width=width, height=height - len(parts))
        self._live.update(Group(*parts), refresh=True)


def _parts(picture: Picture, *, width: int, height: int) -> list[RenderableType]:
    """Returns everything, in exactly `height` lines where there is room for tables."""
    across = max(1, min(len(picture.tiles), width // _TILE_COLUMNS))
    rows = -(-len(picture.tiles) // across)
    tables = [table for table in picture.tables if table.rows]
    taken = 2 + rows * _TILE_LINES + bool(picture.foot)  # head, and an empty line
    room = height - taken - _FRAME_LINES * len(tables)
    reserved = 2 + _CHART_LINES if height >= _TALL else 0
    given = allot(room - reserved, [len(table.rows) for table in tables])
    chart_lines = min(room - sum(given) - 2, _MOST_CHART_LINES)
    parts: list[RenderableType] = [_line(picture.head, _TONES[picture.tone]), Text(""), _tiles(picture, across, width)]
    if chart_lines >= _CHART_LINES:
        parts += [Text(""), _charts(picture, width, chart_lines)]
        room -= chart_lines + 2
    for table, lines in zip(tables, given, strict=True):
        parts += [Text(""), _grid(table, lines, picture.sort)]
    if picture.foot:
        parts += [Text("")] * max(room - sum(given), 0)
        parts.append(_line(picture.foot, "reverse"))
    return parts


def allot(room: int, wanted: Sequence[int]) -> list[int]:
    """Returns each table's lines: `room` shared out evenly, and none gets more than it wants."""
    given = [0] * len(wanted)
    while room > 0 and (hungry := [place for place, want in enumerate(wanted) if given[place] < want]):
        for place in hungry[:room]:
            given[place] += 1
        room -= len(hungry)
    return given


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _tiles(picture: Picture, across: int, width: int) -> Grid:
    grid = Grid.grid(padding=(0, 2), expand=True)
    for _ in range(across):
        grid.add_column(no_wrap=True, ratio=1)
    for start in range(0, len(picture.tiles), across):
        tiles: list[Tile] = picture.tiles[start : start + across]
        grid.add_row(*(Text(tile.value, style=_TONES[tile.tone]) for tile in tiles))
        grid.add_row(*(Text(tile.name, style="dim") for tile in tiles))
        lines = (spark(picture.past.get(tile.name, ()), width=width // across - 2)[0] for tile in tiles)
        grid.add_row(*(Text(line, style="cyan") for line in lines))
    return grid


def _charts(picture: Picture, width: int, lines: int) -> Grid:
    """Returns the charts beside each other, with a line of names above."""
    each = width // len(_CHARTED)
    grid = Grid.grid(padding=(0, 2), expand=True)
    for _ in _CHARTED:
        grid.add_column(no_wrap=True, ratio=1)
    values = {tile.name: tile.value for tile in picture.tiles}
    grid.add_row(*(Text(f"{name}  {values[name]}", style="dim") for name in _CHARTED))
    columns = [spark(picture.past.get(name, ()), width=each - 2, lines=lines) for name in _CHARTED]
    for line in zip(*columns, strict=True):
        grid.add_row(*(Text(text, style="cyan") for text in line))
    return grid


def _grid(table: Table, lines: int, sort: str) -> Grid:
    grid = Grid(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style="reverse")
    for place, column in enumerate(table.columns):
        is_sorted = column.name == sort and table.title == "Furthest behind"
        grid.add_column(
            Text(f"{column.name} ▾" if is_sorted else column.name),
            justify="right" if column.numbers else "left",
            style="cyan" if place == 0 else "",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in table.rows[:lines]:
        grid.add_row(*(Text(cell) for cell in row))  # Text: what a stranger chose is not markup
    return grid
