"""A picture as lines of text: for pipes, files and `--once`."""

from __future__ import annotations

from typing import Self, TextIO

from .picture import Column, Picture, Table

_ROWS = 20  # of each table
_GAP = "  "


class Lines:
    """Prints each picture below the last one.

    Args:
        stream: Takes the lines.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._trouble = ""
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, picture: Picture | None, trouble: str) -> None:
        """Prints the picture; while there is trouble, that instead, once."""
        if trouble:
            text = "" if trouble == self._trouble else f"fanwise top: {trouble}\n"
        elif picture is None:
            text = ""
        else:
            text = ("\n" if self._shown else "") + "\n".join(describe(picture)) + "\n"
            self._shown = True
        self._trouble = trouble
        self._stream.write(text)
        self._stream.flush()


def describe(picture: Picture) -> list[str]:
    """The picture, line by line. Empty tables are left out."""
    width = max(len(tile.name) for tile in picture.tiles)
    told = [picture.head, "", *(f"{tile.name:<{width}}{_GAP}{tile.value}" for tile in picture.tiles)]
    for table in picture.tables:
        if table.rows:
            told += ["", table.title, *_rows(table)]
    return told


def _rows(table: Table) -> list[str]:
    heads = tuple(column.name for column in table.columns)
    shown = [heads, *table.rows[:_ROWS]]
    widths = [max(map(len, cells)) for cells in zip(*shown, strict=True)]
    told = [_GAP.join(map(_pad, row, widths, table.columns)).rstrip() for row in shown]
    left_out = len(table.rows) - _ROWS
    return [*told, f"and {left_out} more"] if left_out > 0 else told


def _pad(cell: str, width: int, column: Column) -> str:
    return cell.rjust(width) if column.numbers else cell.ljust(width)
