"""A shelf: the books on channels that are kept for equally long. The first entries of each are the next to go."""

from __future__ import annotations

import math
from collections import OrderedDict  # a dict whose first entry is found at once, also when many before it have gone
from typing import Any


class Shelf:
    """Owns the invariant that each of its books has the channel first whose time is up first.

    Args:
        history_seconds: How long a channel stays after its last client and its newest publication, and a log retains
            publications other than the newest.
        idle_seconds: How long a channel without clients stays, if that is less.

    Attributes:
        empty: {channel without clients and publications: since when}. Those go first.
        idle: {channel without clients: since when}.
        aging: {channel with a log: when its age was looked at}.
    """

    __slots__ = ("aging", "empty", "history_seconds", "idle", "idle_seconds")

    def __init__(self, history_seconds: float, idle_seconds: float = math.inf) -> None:
        self.history_seconds = history_seconds
        self.idle_seconds = min(history_seconds, idle_seconds)
        self.empty: OrderedDict[Any, float] = OrderedDict()
        self.idle: OrderedDict[Any, float] = OrderedDict()
        self.aging: OrderedDict[Any, float] = OrderedDict()

    def forget(self, channel: Any) -> None:
        """Removes a channel from all books. O(1)."""
        for book in (self.empty, self.idle, self.aging):
            book.pop(channel, None)
