"""A client's queue: a bounded window onto a channel's log. It stores nothing of its own but a cursor."""

from __future__ import annotations

from typing import NamedTuple

from .log import Log
from .publication import Publication


class Gap(NamedTuple):
    """Publications that a client will not get: the offsets `first` to `last`, both included."""

    first: int
    last: int


class SharedCursor:
    """One cursor for many queues: while a queue follows it, moving it moves them all."""

    __slots__ = ("cursor",)

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor


class Queue:
    """What one client still has to get of one channel: everything in the log after its cursor.

    Reads like a bounded queue (`maxsize`, `qsize()`, `full()`, `empty()`, `get_nowait()`), costs one integer, and is
    never filled by anybody: publishing moves the log's head away from the cursor. Owns the cursor. `max_bytes`
    counts payload.
    """

    __slots__ = ("_cursor", "log", "max_bytes", "maxsize", "shared")

    def __init__(self, log: Log, *, cursor: int, max_messages: int, max_bytes: int) -> None:
        self.log = log
        self.maxsize = max_messages
        self.max_bytes = max_bytes
        self.shared: SharedCursor | None = None  # whose cursor counts, while the client is in a ready group
        self._cursor = cursor

    @property
    def cursor(self) -> int:
        """Offset of the last publication that the client's sink was given."""
        return self._cursor if self.shared is None else self.shared.cursor

    def follow(self, shared: SharedCursor) -> None:
        """Lets `shared`, which must stand where the queue stands, be the cursor from now on."""
        if shared.cursor != self.cursor:
            raise AssertionError(f"a queue at {self.cursor} cannot follow a cursor at {shared.cursor}")
        self.shared = shared

    def unfollow(self) -> None:
        """Takes the cursor back, where the shared one stands now."""
        self._cursor, self.shared = self.cursor, None

    def rewind(self, cursor: int) -> None:
        """Goes back to `cursor`: the publications after it were not taken after all."""
        if self.shared is not None or not cursor <= self._cursor:
            raise AssertionError(f"a queue at {self._cursor} cannot go back to {cursor}")
        self._cursor = cursor

    def qsize(self) -> int:
        """The lag: publications after the cursor."""
        return self.log.head - self.cursor

    def qsize_bytes(self) -> int:
        """The lag in payload bytes, as far as the log retains them."""
        return self.log.bytes_after(self.cursor)

    def empty(self) -> bool:
        """Whether the client has everything."""
        return self.cursor == self.log.head

    def full(self) -> bool:
        """Whether the window is as wide as it may get, in messages or in bytes."""
        return self.qsize() >= self.maxsize or self.qsize_bytes() >= self.max_bytes

    def overflowed(self) -> bool:
        """Whether the client is further behind than its window is wide, in messages or in bytes."""
        return self.qsize() > self.maxsize or self.qsize_bytes() > self.max_bytes

    def gap(self) -> Gap | None:
        """What the client did not get and the log does not retain any more, or None."""
        cursor, first = self.cursor, self.log.first
        return Gap(cursor + 1, first - 1) if first > cursor + 1 else None

    def get_nowait(self, *, max_bytes: int) -> list[Publication]:
        """Takes the next publications, at least one and about `max_bytes` of payload; none when it is empty.

        Must not be called while the queue follows a shared cursor, nor when the log has dropped what is next.
        """
        if self.shared is not None:
            raise AssertionError("a queue in a ready group is read by the sweep")
        batch = self.log.read(self._cursor, max_bytes=max_bytes)
        self._cursor += len(batch)
        return batch
