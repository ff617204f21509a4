"""Who is furthest behind, and where most is published: looked for in turns, so that the event loop is not held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from heapq import nlargest
from itertools import islice
from operator import itemgetter
from typing import NamedTuple, TypeVar

from ..core.channel import Channel
from ..core.hub import Hub
from .client import Client
from .registry import Roster, lag_bytes
from .state import State

_TURN_SECONDS = 0.002  # for which the loop is held in one turn
_STEP = 64  # items between two looks at the clock

Item = TypeVar("Item")
Found = TypeVar("Found")


async def in_turns(look: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What `look` finds at each of the items, which are collected now; the loop turns every few milliseconds."""
    waiting = list(items)
    found: list[Found] = []
    deadline = time.monotonic() + _TURN_SECONDS
    for start in range(0, len(waiting), _STEP):
        found += map(look, waiting[start : start + _STEP])
        if time.monotonic() >= deadline:
            await asyncio.sleep(0)
            deadline = time.monotonic() + _TURN_SECONDS
    return found


async def furthest_behind(roster: Roster, *, limit: int, channel: str | None = None) -> list[Client]:
    """The `limit` clients that have most to get, in bytes; where fewer are behind, some of the others. O(behind).

    With `channel` only those on it, for which the ready ones are gone through as well.
    """

    def asked_for(client: Client) -> bool:
        return channel is None or channel in client.subscriptions

    found = await in_turns(lambda client: (lag_bytes(client), client), filter(asked_for, roster.behind))
    clients = [client for _, client in nlargest(limit, found, key=itemgetter(0)) if client.reason is None]
    ready = (client for client in roster if client.state is State.READY and asked_for(client))
    return [*clients, *islice(ready, max(0, limit - len(found)))]


class Rank(NamedTuple):
    """A channel, ranked by its publications since the last look, and then by its clients."""

    publications: int
    clients: int
    channel: Channel


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
        heads, known = self._heads, before or {}

        def rank(channel: Channel) -> Rank:
            log = channel.log
            heads[channel.name] = log.epoch, log.head
            epoch, seen = known.get(channel.name, (log.epoch, 0))
            return Rank(log.head - seen if epoch == log.epoch else log.head, len(channel.queues), channel)

        ranked = nlargest(limit, await in_turns(rank, self._hub), key=itemgetter(0, 1))
        return [(one.channel, None if before is None else one.publications / seconds) for one in ranked]
