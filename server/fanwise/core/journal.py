"""The journal: which users have come to a channel or gone lately, for other workers that ask. Synchronous."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

MOST_KEPT: Final = 8_192


class Change(NamedTuple):
    """A user that has come to a channel, or gone, or has new info.

    Attributes:
        number: Grows with each change.
    """

    number: int
    channel: str
    user_id: str


class Journal:
    """Owns the invariant that it has the latest change of each user and channel since `begins_at`.

    Args:
        begins_at: The number of the latest change before.

    Attributes:
        number: The number of the latest change.
    """

    def __init__(self, begins_at: int) -> None:
        self.number = self._begins_at = begins_at
        self._changes: OrderedDict[tuple[str, str], int] = OrderedDict()  # {(channel, user's id): number}, ascending

    def note(self, channel: str, user_id: str) -> None:
        """Keeps a change. O(1)."""
        self.number += 1
        key = channel, user_id
        self._changes[key] = self.number
        self._changes.move_to_end(key)
        if len(self._changes) > MOST_KEPT:
            _, self._begins_at = self._changes.popitem(last=False)

    def after(self, number: int) -> list[Change] | None:
        """Returns the changes after a number, the oldest first; None if some of them are not kept. O(changes)."""
        if not self._begins_at <= number <= self.number:
            return None
        found: list[Change] = []
        for (channel, user_id), at in reversed(self._changes.items()):
            if at <= number:
                break
            found.append(Change(at, channel, user_id))
        found.reverse()
        return found
