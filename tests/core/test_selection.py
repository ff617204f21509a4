"""A selection against the plain search for what a filter lets through."""

from __future__ import annotations

import random

import pytest

from fanwise.core.filters import Tags, as_filter
from fanwise.core.log import Entry, Log
from fanwise.core.publication import Kind
from fanwise.core.selection import Selection

TAGS: list[Tags | None] = [None, {"s": "a"}, {"s": "b"}, {"s": "a", "v": "1"}]


class Model:
    """A log, a selection, and what each offset has."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        most = self.random.choice([5, 50, 300])
        self.log = Log("c", epoch="e", max_messages=most, max_bytes=10**9)
        self.wanted: list[bool] = []
        for _ in range(self.random.randrange(200)):
            self.append()
        wanted = as_filter({"s": "a"})
        assert wanted is not None
        self.selection = Selection(wanted, self.log)
        self.began = self.log.head

    def append(self) -> None:
        tags = self.random.choice(TAGS)
        payload = b"x" * self.random.randrange(5)
        self.log.append(payload, Kind.TEXT, float(len(self.wanted)), None, tags)
        self.wanted.append(tags is not None and tags["s"] == "a")

    def step(self) -> None:
        choice = self.random.random()
        if choice < 0.6:
            self.append()
            self.selection.follow()
        elif choice < 0.65:
            self.log.trim(max_messages=self.random.randrange(1, 20), max_bytes=10**9)
        elif choice < 0.7:
            self.selection.reach(self.random.randrange(self.log.head + 1), self.random.randrange(1, 30))
        else:
            self.look()

    def look(self) -> None:
        selection, log = self.selection, self.log
        selection.follow()
        low = max(selection.begun, log.first - 1)
        cursor = self.random.randrange(low, log.head + 1)
        offsets = [offset for offset in range(cursor + 1, log.head + 1) if self.wanted[offset - 1]]
        assert selection.count_after(cursor) == len(offsets)
        assert selection.next_after(cursor) == (offsets[0] if offsets else 0)
        assert selection.bytes_after(cursor) == sum(len(one.payload) for one in log.pick(offsets))
        self.read(cursor, offsets)
        count = self.random.randrange(1, 10)
        expected = offsets[-count] - 1 if len(offsets) >= count else cursor
        assert selection.before_last(count, cursor) == expected
        behind = self.random.randrange(self.began, log.head + 1)
        lost = [offset for offset in range(behind + 1, log.first) if self.wanted[offset - 1]]
        assert selection.missing_after(behind) == (lost[-1] if lost else 0)

    def read(self, cursor: int, offsets: list[int]) -> None:
        until, max_bytes = self.random.randrange(cursor, self.log.head + 1), self.random.randrange(1, 20)
        found, after = self.selection.read(cursor, max_bytes=max_bytes, until=until)
        expected = [offset for offset in offsets if offset <= until]
        assert [one.offset for one in found] == expected[: len(found)]
        assert bool(found) == bool(expected)
        assert after == (found[-1].offset if len(found) < len(expected) else until)
        assert len(found) < 2 or sum(len(one.payload) for one in found) <= max_bytes


@pytest.mark.parametrize("seed", range(20))
def test_a_selection_is_what_a_search_finds(seed: int) -> None:
    """Counts, bytes, what comes next, what is missing, and what is read, while the log grows and is cut."""
    model = Model(seed)
    for _ in range(200):
        model.step()


def test_what_is_decided_of_the_past_is_bounded() -> None:
    """Each call looks at so many publications; meanwhile those that nobody has looked at count."""
    log = Log("c", epoch="e", max_messages=1000, max_bytes=10**9)
    for number in range(100):
        log.append(b"xx", Kind.TEXT, 0.0, None, {"s": "a"} if number % 10 == 0 else None)
    wanted = as_filter({"s": "a"})
    assert wanted is not None
    selection = Selection(wanted, log)
    counts = [(selection.count_after(0), selection.bytes_after(0), selection.next_after(0))]
    while not selection.reach(0, at_most=30):
        counts.append((selection.count_after(0), selection.bytes_after(0), selection.next_after(0)))
    assert counts == [(100, 200, 1), (73, 146, 1), (46, 92, 1), (19, 38, 1)]
    assert (selection.count_after(0), selection.bytes_after(0), selection.next_after(5)) == (10, 20, 11)


def test_a_log_that_gets_older_publications_back_is_looked_at_again() -> None:
    """As when another server's history comes: what had gone is not missing any more."""
    log = Log("c", epoch="e", max_messages=1000, max_bytes=10**9)
    wanted = as_filter({"s": "a"})
    assert wanted is not None
    selection = Selection(wanted, log)
    for _ in range(10):
        log.append(b"x", Kind.TEXT, 0.0, None, {"s": "a"})
    selection.follow()
    log.trim(max_messages=4, max_bytes=100)
    assert (selection.missing_after(2), selection.count_after(6)) == (6, 4)
    log.prepend([Entry(b"x", Kind.TEXT, 0.0, None, {"s": "a"}) for _ in range(6)])
    assert selection.reach(2)
    assert (selection.missing_after(2), selection.count_after(2)) == (0, 8)


def test_what_the_log_lets_go_of_is_let_go_of() -> None:
    """A million publications later a selection has no more than the log has."""
    log = Log("c", epoch="e", max_messages=100, max_bytes=10**9)
    wanted = as_filter({"s": "a"})
    assert wanted is not None
    selection = Selection(wanted, log)
    for _ in range(20_000):
        log.append(b"x", Kind.TEXT, 0.0, None, {"s": "a"})
        selection.follow()
    assert selection.count_after(0) == 100
    assert selection.cost_bytes < 2_048 + 16 * 300
