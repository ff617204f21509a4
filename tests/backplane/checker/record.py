"""What happened: an append-only list of entries, each with the time on the monotonic clock."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from fanwise.core.publication import Position


class Invoked(NamedTuple):
    """A publication was handed to a worker. Bodies are unique."""

    at: float
    body: str
    channel: str
    worker: str


class Settled(NamedTuple):
    """What its publisher was told: "acked", "down" or "unknown". An ack without a position is one of a mutant."""

    at: float
    body: str
    outcome: str
    position: Position | None


class Began(NamedTuple):
    """A client was told where its stream begins, on a new connection; `since` is what it asked for."""

    at: float
    reader: str
    channel: str
    worker: str
    position: Position
    since: Position | None
    recovered: bool


class Heard(NamedTuple):
    """A client got a publication. The epoch is the one that the stream is in."""

    at: float
    reader: str
    channel: str
    position: Position
    body: str


class Told(NamedTuple):
    """A client got a gap."""

    at: float
    reader: str
    channel: str
    epoch: str
    first: int
    last: int
    reason: str


class Noted(NamedTuple):
    """Something that was done, for whoever reads the record."""

    at: float
    what: str


Entry: TypeAlias = "Invoked | Settled | Began | Heard | Told | Noted"
Of = TypeVar("Of", Invoked, Settled, Began, Heard, Told, Noted)


class Record:
    """Owns the invariant that entries are in the order in which they happened, and stay as they are."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def note(self, what: str) -> None:
        self.add(Noted(time.monotonic(), what))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def all(self, kind: type[Of]) -> list[Of]:
        return [entry for entry in self._entries if isinstance(entry, kind)]

    def save(self, path: Path) -> None:
        """One line of JSON for each entry."""
        with path.open("w") as file:
            for entry in self._entries:
                file.write(json.dumps({"is": type(entry).__name__, **entry._asdict()}) + "\n")
