from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from fanwise.routes.fleet.rows import fields_of, read_rows, write_rows

pytestmark = pytest.mark.anyio


class Head(BaseModel):
    total: int


class Row(BaseModel):
    name: str


def rows(count: int) -> Iterator[dict[str, str]]:
    return ({"name": f"{number:08d}"} for number in range(count))


async def test_rows_are_read_as_they_were_written() -> None:
    """By worker, each with its head."""
    answers = {"a": await write_rows({"total": 5}, rows(3), most_bytes=1000), "b": b'{"total": 0}'}
    (a, b), wrong = await read_rows(answers, Head, Row)
    assert (a.worker, a.head.total, [row.name for row in a.rows]) == ("a", 5, ["00000000", "00000001", "00000002"])
    assert (b.head.total, b.rows, wrong) == (0, [], [])
    assert fields_of(a.rows[0], worker="a") == {"name": "00000000", "worker": "a"}


async def test_what_does_not_fit_is_left_out() -> None:
    """Whole rows, so that the answer has at most so many bytes."""
    for most in (12, 13, 40, 100):
        answer = await write_rows({"total": 5}, rows(50), most_bytes=most)
        assert len(answer) <= most
        (part,), _ = await read_rows({"a": answer}, Head, Row)
        assert len(part.rows) == (most - 11) // 20


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"[",
        b'{"total": "1"}',
        b'{"total": 1}\n{}',
        b'{"total": 1}\n',
        b'{"total": 1}\n{"name": 3}',
        b"\xff",
    ],
)
async def test_an_answer_that_is_none_makes_its_worker_silent(answer: bytes) -> None:
    """And does no harm to the others."""
    parts, wrong = await read_rows({"a": answer, "b": b'{"total": 1}'}, Head, Row)
    assert ([part.worker for part in parts], wrong) == (["b"], ["a"])
