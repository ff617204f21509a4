"""Ranks: a set in pieces, so that nobody has to touch thousands of its members at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)

RANK: Final = 256  # members of a rank, at most


class Ranks(Generic[Member]):
    """A set in ranks of at most 256 members, in the order in which they came.

    Who goes over all members between other work takes a copy of one rank at a time. A copy of all of them would also be
    looked through by the next collection of young objects, which visits whatever a list refers to.
    """

    __slots__ = ("_number", "_ranks", "_where")

    def __init__(self) -> None:
        self._where: dict[Member, int] = {}  # {member: number of its rank}
        self._ranks: dict[int, dict[Member, None]] = {}  # {number: rank}, none of them empty
        self._number = 0  # of the rank that takes the next one

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, member: object) -> bool:
        return member in self._where

    def add(self, member: Member) -> None:
        """Takes a member in. O(1)."""
        if member in self._where:
            return
        rank = self._ranks.setdefault(self._number, {})
        if len(rank) >= RANK:
            self._number += 1
            rank = self._ranks[self._number] = {}
        rank[member] = None
        self._where[member] = self._number

    def discard(self, member: Member) -> None:
        """Lets a member go, if it is one. O(1)."""
        number = self._where.pop(member, None)
        if number is None:
            return
        rank = self._ranks[number]
        del rank[member]
        if not rank:
            del self._ranks[number]

    def __iter__(self) -> Iterator[Member]:
        """Goes over the members that are here when it begins, but for those that have left when their rank comes."""
        for number in list(self._ranks):
            yield from list(self._ranks.get(number, ()))
