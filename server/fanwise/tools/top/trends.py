"""The latest values of each tile, and lines of blocks that show them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

KEPT = 600  # values of a tile: as many as a terminal has columns, and some
_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = len(_BLOCKS) - 1


class Trends:
    """Keeps the latest values of each tile, by its name. None: unknown at that time."""

    def __init__(self) -> None:
        self._values: defaultdict[str, deque[float | None]] = defaultdict(lambda: deque(maxlen=KEPT))

    def add(self, values: Mapping[str, float | None]) -> None:
        """Appends one value to each of the tiles."""
        for name, value in values.items():
            self._values[name].append(value)

    def of(self, name: str) -> list[float | None]:
        """Returns the values of a tile, the latest last."""
        return list(self._values.get(name, ()))


def spark(values: Sequence[float | None], *, width: int, lines: int = 1) -> list[str]:
    """Returns a column of blocks for each of the latest values, as `lines` texts of at most `width` characters.

    The top comes first. The scale goes from 0 to the largest value. A value above 0 has at least an eighth of a line.
    """
    shown = list(values)[-width:] if width > 0 else []
    top = max((value for value in shown if value is not None), default=0.0)
    columns = [_column(value, top, lines) for value in shown]
    return ["".join(column[line] for column in columns) for line in range(lines)]


def _column(value: float | None, top: float, lines: int) -> str:
    """Returns a column's characters, from the top."""
    if value is None or top <= 0:
        return " " * lines
    eighths = max(round(value / top * lines * _EIGHTHS), 1 if value > 0 else 0)
    return "".join(_BLOCKS[min(max(eighths - _EIGHTHS * line, 0), _EIGHTHS)] for line in reversed(range(lines)))
