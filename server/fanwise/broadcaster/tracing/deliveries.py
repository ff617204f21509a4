"""Sweeps that notice when the ready clients have been given a publication that is traced."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ...core.channel import Channel
from ...core.group import Cohort, ReadyGroup, Slice
from ..sweep import Sweeper

MOST_WATCHED: Final = 4_096  # publications of all channels; others beyond them have no delivery


class Delivery:
    """A publication on its way to the clients that are ready.

    Args:
        offset: Of the publication, in the channel's log.
        ended: Called at the end of its sweep.

    Attributes:
        clients: The clients whose sockets have taken it, or begun to.
        written: When it was written to the last of them, on the monotonic clock; 0 before the first.
    """

    __slots__ = ("clients", "ended", "offset", "written")

    def __init__(self, offset: int, ended: Callable[[Delivery], None]) -> None:
        self.offset = offset
        self.ended = ended
        self.clients = 0
        self.written = 0.0


class Deliveries:
    """The publications whose sweeps have not ended. Owns the invariant that they are at most `MOST_WATCHED`.

    Attributes:
        pending: {channel: its deliveries, ascending by offset}.
    """

    def __init__(self) -> None:
        self.pending: dict[Channel, deque[Delivery]] = {}
        self._count = 0

    def watch(self, channel: Channel, delivery: Delivery) -> None:
        """Has `delivery.ended` called at the end of the sweep that is due, unless too many are watched. O(1)."""
        if self._count < MOST_WATCHED:
            self._count += 1
            self.pending.setdefault(channel, deque()).append(delivery)

    def swept(self, channel: Channel, until: int) -> None:
        """Ends the deliveries up to offset `until`. O(them)."""
        waiting = self.pending[channel]
        while waiting and waiting[0].offset <= until:
            self._count -= 1
            delivery = waiting.popleft()
            delivery.ended(delivery)
        if not waiting:
            del self.pending[channel]

    def clear(self) -> None:
        """Forgets all deliveries."""
        self.pending.clear()
        self._count = 0


class WatchedSweeper(Sweeper):
    """Runs the sweeps of all channels, and notes what they do with publications that are watched.

    Args:
        loop: The event loop of all clients.
        deliveries: The publications that are watched; those of an earlier loop are forgotten.
        about: What a `Sweeper` takes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, deliveries: Deliveries, **about: Any) -> None:
        super().__init__(loop, **about)
        deliveries.clear()
        self._deliveries = deliveries

    def _sweep(self, channel: Channel, until: int, deadline: float, *, continued: bool) -> bool:
        done = super()._sweep(channel, until, deadline, continued=continued)
        if done and channel in self._deliveries.pending:
            self._deliveries.swept(channel, until)
        return done

    def _write_slice(self, channel: Channel, group: ReadyGroup, cohort: Cohort, until: int) -> float:
        waiting = self._deliveries.pending.get(channel)
        if waiting is None:
            return super()._write_slice(channel, group, cohort, until)
        part = group.slice_after(cohort.cursor, until=until, max_bytes=self._slice_bytes)
        given = channel.deliveries
        now = super()._write_slice(channel, group, cohort, until)
        if part.messages:
            _note(waiting, group, part, clients=round((channel.deliveries - given) / part.messages), now=now)
        return now


def _note(waiting: deque[Delivery], group: ReadyGroup, part: Slice, *, clients: int, now: float) -> None:
    """Notes that a slice was written. O(publications in it)."""
    concerned = [one for one in waiting if part.before < one.offset <= part.after]
    if concerned:
        offsets = {publication.offset for publication in group.read(part)}  # of those that a filter has let through
        for one in concerned:
            if one.offset in offsets:
                one.clients += clients
                one.written = now
