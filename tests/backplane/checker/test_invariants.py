"""Each invariant fails when it should, and only then: records of a few lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanwise.core.publication import Position

from .invariants import LAST, gaps_in, judge
from .record import Began, Entry, Heard, Invoked, Record, Settled, Told

A1, A2, A3 = (Position("a", offset) for offset in (1, 2, 3))
B1 = Position("b", 1)


def began(at: float, position: Position, since: Position | None = None, *, recovered: bool = False) -> Began:
    return Began(at, "r", "c", "w", position, since, recovered)


def heard(at: float, position: Position, body: str, reader: str = "r") -> Heard:
    return Heard(at, reader, "c", position, body)


def told(at: float, epoch: str, first: int, last: int, reason: str) -> Told:
    return Told(at, "r", "c", epoch, first, last, reason)


def published(at: float, body: str, position: Position | None, outcome: str = "acked") -> list[Entry]:
    return [Invoked(at, body, "c", "w"), Settled(at + 0.5, body, outcome, position)]


BEGIN = began(0, Position("a", 0))
CASES: dict[str, tuple[list[Entry], set[str]]] = {
    "all is well": (
        [BEGIN, *published(1, "1", A1), heard(2, A1, "1"), *published(3, "2", A2), heard(4, A2, "2")],
        set(),
    ),
    "a hole": ([BEGIN, heard(1, A1, "1"), heard(2, A3, "3")], {"I1"}),
    "twice": ([BEGIN, heard(1, A1, "1"), heard(2, A1, "1")], {"I1"}),
    "a body twice": ([BEGIN, heard(1, A1, "1"), heard(2, A2, "1")], {"I1"}),
    "a body again elsewhere": ([BEGIN, heard(1, A1, "1"), told(2, "b", 1, 0, "epoch"), heard(3, B1, "1")], set()),
    "a gap tiles": ([BEGIN, heard(1, A1, "1"), told(2, "a", 2, 2, "backplane"), heard(3, A3, "3")], set()),
    "a gap in the wrong place": (
        [BEGIN, heard(1, A1, "1"), told(2, "a", 1, 2, "backplane"), heard(3, A3, "3")],
        {"I1"},
    ),
    "it goes on": ([BEGIN, heard(1, A1, "1"), began(2, A1, A1, recovered=True), heard(3, A2, "2")], set()),
    "it goes on too late": ([BEGIN, heard(1, A1, "1"), began(2, A2, A1, recovered=True), heard(3, A3, "3")], {"I1"}),
    "another epoch": ([BEGIN, heard(1, A1, "1"), told(2, "b", 1, 0, "epoch"), heard(3, B1, "2")], set()),
    "another epoch untold": ([BEGIN, heard(1, A1, "1"), heard(2, B1, "2")], {"I2"}),
    "a turn untold": ([BEGIN, heard(1, A1, "1"), began(2, Position("b", 0), A1), heard(3, B1, "2")], {"I2"}),
    "an epoch gap to nowhere": ([BEGIN, heard(1, A1, "1"), told(2, "a", 1, 0, "epoch"), heard(3, A1, "1")], {"I2"}),
    "an old epoch": ([BEGIN, told(1, "b", 1, 0, "epoch"), told(2, "a", 1, 0, "epoch")], {"I2"}),
    "two bodies": ([BEGIN, heard(1, A1, "1"), *published(1, "2", A1)], {"I3", "I4"}),
    "two bodies for two": (
        [BEGIN, heard(1, A1, "1"), Began(0, "s", "c", "w", Position("a", 0), None, False), heard(2, A1, "2", "s")],
        {"I3"},
    ),
    "never came": ([BEGIN, *published(1, "1", A1)], {"I4"}),
    "never came, and is told": ([BEGIN, *published(1, "1", A1), told(2, "a", 1, 1, "backplane")], set()),
    "never came, and a turn is told": ([BEGIN, *published(1, "1", A1), told(2, "b", 1, 0, "epoch")], set()),
    "lost after the turn was told": ([BEGIN, told(1, "b", 1, 0, "epoch"), *published(2, "1", A1)], {"I4"}),
    "before it came": ([*published(0, "1", A1), began(1, A1)], set()),
    "before it came, elsewhere": ([*published(0, "1", A1), began(1, B1)], set()),
    "acked without a place": ([BEGIN, *published(1, "1", None)], {"I4"}),
    "unconfirmed": ([BEGIN, *published(1, "1", None, "unknown")], set()),
    "refused and seen": ([BEGIN, *published(1, "1", None, "down"), heard(2, A1, "1")], {"I5"}),
    "the last one": ([BEGIN, *published(1, f"{LAST}c", A1)], {"I6"}),
    "out of order": (
        [BEGIN, *published(1, "1", A2), *published(2, "2", A1), heard(3, A1, "2"), heard(4, A2, "1")],
        {"I7"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_found(name: str) -> None:
    """And what is right is not."""
    entries, expected = CASES[name]
    record = Record()
    for entry in entries:
        record.add(entry)
    assert {one.invariant for one in judge(record)} == expected


def test_an_epoch_may_come_again_where_two_engines_are_primaries() -> None:
    """Its publications come again as well, up to where the client had them, and nothing else does."""
    record = Record()
    there_and_back: list[Entry] = [
        told(2, "b", 1, 0, "epoch"),
        told(3, "a", 1, 0, "epoch"),
        heard(4, A1, "1"),
        heard(5, A2, "2"),
    ]
    for entry in (BEGIN, heard(1, A1, "1"), *there_and_back):
        record.add(entry)
    assert judge(record, returns=True) == []
    record.add(heard(6, A3, "2"))
    assert {one.invariant for one in judge(record, returns=True)} == {"I1"}


def test_a_record_can_be_saved(tmp_path: Path) -> None:
    """A line for each entry, for whoever looks for what went wrong."""
    record = Record()
    for entry in (BEGIN, told(1, "a", 1, 3, "slow")):
        record.add(entry)
    record.note("struck")
    record.save(tmp_path / "record")
    assert len((tmp_path / "record").read_text().splitlines()) == 3
    assert gaps_in(record) == {"slow": 1}
