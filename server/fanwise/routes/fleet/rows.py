"""Rows of several workers. An answer of rows is JSON in lines: first what is not in rows, then a line per row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from ...broadcaster.turns import SharedTurn

Head = TypeVar("Head", bound=BaseModel)
Row = TypeVar("Row", bound=BaseModel)
_MOST_ROWS: Final = 10_000  # of one worker


class Part(NamedTuple, Generic[Head, Row]):
    """What one worker has answered."""

    worker: str
    head: Head
    rows: list[Row]


async def write_rows(head: object, rows: Iterable[object], *, most_bytes: int) -> bytes:
    """Returns an answer with as many of the rows as fit. Holds the loop for 1 ms at a time."""
    lines = [orjson.dumps(head)]
    room, turn = most_bytes - len(lines[0]), SharedTurn()
    for row in rows:
        line = orjson.dumps(row)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
        await turn.give_way()
    return b"\n".join(lines)


async def read_rows(
    answers: Mapping[str, bytes], head: type[Head], row: type[Row]
) -> tuple[list[Part[Head, Row]], list[str]]:
    """Returns the answers that are understood, and the workers of the others. Holds the loop for 1 ms at a time."""
    parts, wrong = [], []
    turn = SharedTurn()
    for worker, answer in answers.items():
        first, *lines = answer.split(b"\n", _MOST_ROWS)
        try:
            told = head.model_validate_json(first, strict=True)
            rows = []
            for line in lines:
                rows.append(row.model_validate_json(line, strict=True))
                await turn.give_way()
        except ValidationError:
            wrong.append(worker)
        else:
            parts.append(Part(worker, told, rows))
    return parts, wrong


def fields_of(row: BaseModel, **more: Any) -> dict[str, Any]:
    """Returns the fields of a checked row, and more."""
    return {**row.model_dump(), **more}
