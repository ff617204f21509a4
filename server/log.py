"""A channel's log: its recent publications, bounded in messages and in bytes.

Cursors are offsets: a cursor at 7 means that 7 is the last publication its owner has, and 8 the next that it reads.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from .publication import Publication

_DROPPED: Final = Publication("", "", 0, b"", False, 0.0)  # stands where a publication was, so that its memory is free
_COMPACT_MESSAGES: Final = 64  # dropped places that are carried along before the lists are cut; any small number does


class Log:
    """The retained publications of one channel. Owns the invariant that offsets are dense: 1, 2, 3 and so on.

    Bounded: above `max_messages` or `max_bytes` (of payload) the oldest go, but the newest always stays.
    """

    __slots__ = (
        "_base", "_base_end", "_dropped", "_ends", "_head_end", "_publications",
        "channel", "epoch", "head", "max_bytes", "max_messages",
    )  # fmt: skip

    def __init__(self, channel: str, *, epoch: str, max_messages: int, max_bytes: int) -> None:
        self.channel = channel
        self.epoch = epoch
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.head = 0  # offset of the newest publication; 0 before the first
        self._dropped = 0  # offset of the newest publication that is not retained any more
        # Two lists side by side, for the offsets _base+1 .. head. An "end" counts the payload bytes ever appended, up
        # to and including its publication, so that bytes between two offsets are one subtraction.
        self._publications: list[Publication] = []
        self._ends: list[int] = []
        self._base = 0
        self._base_end = 0
        self._head_end = 0

    def __len__(self) -> int:
        return self.head - self._dropped

    @property
    def first(self) -> int:
        """Offset of the oldest retained publication; `head + 1` while none is."""
        return self._dropped + 1

    @property
    def retained_bytes(self) -> int:
        """Payload bytes of the retained publications."""
        return self._head_end - self._end(self._dropped)

    def append(self, payload: bytes, *, binary: bool, time: float) -> Publication:
        """Appends the next publication and drops what is above the bounds. O(1), amortised."""
        self.head += 1
        self._head_end += len(payload)
        publication = Publication(self.channel, self.epoch, self.head, payload, binary, time)
        self._publications.append(publication)
        self._ends.append(self._head_end)
        if self.head - self._dropped > self.max_messages or self.retained_bytes > self.max_bytes:
            self._trim()
        return publication

    def read(self, cursor: int, *, max_bytes: int, until: int | None = None) -> list[Publication]:
        """The publications after `cursor`, up to offset `until` (default: the head) and `max_bytes` of payload.

        One that alone is larger than `max_bytes` is returned alone: whoever reads always gets on. O(what is returned).

        Raises:
            IndexError: `cursor` is behind the oldest retained publication or ahead of the head.
        """
        if not self._dropped <= cursor <= self.head:
            raise IndexError(f"cursor {cursor} is outside {self._dropped}..{self.head}")
        start = cursor - self._base
        stop = len(self._ends) if until is None else until - self._base
        fits = bisect_right(self._ends, self._end(cursor) + max_bytes, start, stop)
        return self._publications[start : max(fits, min(start + 1, stop))]

    def bytes_after(self, cursor: int) -> int:
        """Payload bytes between `cursor` and the head; of what is retained, when `cursor` is behind that. O(1)."""
        return self._head_end - self._end(max(cursor, self._dropped))

    def _end(self, offset: int) -> int:
        return self._base_end if offset == self._base else self._ends[offset - self._base - 1]

    def _trim(self) -> None:
        while len(self) > 1 and (len(self) > self.max_messages or self.retained_bytes > self.max_bytes):
            self._publications[self._dropped - self._base] = _DROPPED
            self._dropped += 1
        dropped = self._dropped - self._base
        if dropped >= _COMPACT_MESSAGES and dropped * 2 >= len(self._ends):
            self._base_end = self._end(self._dropped)
            self._base = self._dropped
            del self._publications[:dropped]
            del self._ends[:dropped]
