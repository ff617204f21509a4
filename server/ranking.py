"""Who is furthest behind, and where most is published: looked for in turns, so that the event loop is not held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from heapq import nlargest
from itertools import islice
from operator import itemgetter
from typing import TypeVar

from .channel import Channel
from .hub import Hub
from .roster import Roster, lag, lag_bytes
from .state import State
from .writer import Client

_TURN_SECONDS = 0.002  # for which the loop is held in one turn
_LOOKS = 64  # items between two looks at the clock
_RANK = itemgetter(0, 1, 2)

Item = TypeVar("Item")


async def in_turns(items: Iterable[Item]) -> AsyncIterator[Item]:
    """The items, which were collected now; while they are handed out the loop turns every few milliseconds."""
    deadline = time.monotonic() + _TURN_SECONDS
    for number, item in enumerate(list(items), 1):
        yield item
        if number % _LOOKS == 0 and time.monotonic() >= deadline:
            await asyncio.sleep(0)
            deadline = time.monotonic() + _TURN_SECONDS


async def furthest_behind(roster: Roster, *, limit: int) -> list[Client]:
    """The `limit` clients that have most to get, in bytes; where fewer are behind, some of the others. O(behind)."""
    found: list[tuple[tuple[int, int, int], Client]] = []
    async for client in in_turns(roster.behind):
        if client.reason is None:
            found.append(((lag_bytes(client), lag(client), -len(found)), client))
    clients = [client for _, client in nlargest(limit, found)]
    ready = (client for client in roster if client.state is State.READY)
    return [*clients, *islice(ready, max(0, limit - len(found)))]


class Busiest:
    """Ranks a hub's channels. Owns what their heads were at the last look, which the rates are made from.

    Args:
        hub: Whose channels they are.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._heads: dict[str, tuple[str, int]] | None = None  # {channel name: (epoch, head)} at the last look
        self._looked_at = 0.0

    async def look(self, *, limit: int) -> list[tuple[Channel, float | None]]:
        """The `limit` channels that were published to most since the last look, then those with the most clients.

        With each goes its rate, in publications per second; None at the first look. O(channels).
        """
        before, self._heads, now = self._heads, {}, time.monotonic()
        seconds, self._looked_at = max(now - self._looked_at, 1e-3), now
        found: list[tuple[int, int, int, Channel]] = []
        async for channel in in_turns(self._hub):
            epoch, head = channel.log.epoch, channel.log.head
            self._heads[channel.name] = epoch, head
            known, seen = (before or {}).get(channel.name, (epoch, 0))
            found.append((head - seen if known == epoch else head, len(channel.queues), -len(found), channel))
        first = before is None
        ranked = nlargest(limit, found, key=_RANK)
        return [(channel, None if first else new / seconds) for new, _, _, channel in ranked]
