"""A client's subscriptions: its queues, by the name of the channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..core.channel import Channel
from ..core.excluding import Excluding
from ..core.group import Member, ReadyGroup
from ..core.lease import Lease
from ..core.publication import Encoding
from ..core.queue import Batch, Overflow, Queue

_DISCONNECT = Overflow.DISCONNECT  # as a global: CPython 3.11 makes a call of each attribute of an enum


class Subscription(NamedTuple):
    """A client's place on one channel."""

    channel: Channel
    queue: Queue

    def group(self, encoding: Encoding) -> ReadyGroup:
        """The ready group that the client is in while it is up to date."""
        selection = self.queue.selection
        return self.channel.group(encoding) if selection is None else self.channel.group_of(selection, encoding)

    @property
    def starved(self) -> bool:
        """Whether publications that the queue has places for went for want of memory."""
        return self.queue.cursor < self.channel.let_go and self.queue.qsize() <= self.queue.maxsize


class Subscriptions(dict[str, Subscription]):
    """A client's places, by the name of the channel."""

    def join(self, member: Member, *, encoding: Encoding, lease: Lease) -> None:
        """Takes `member` into the ready groups of its channels. O(channels)."""
        for channel, queue in self.values():
            selection = queue.selection
            group = channel.group(encoding) if selection is None else channel.group_of(selection, encoding)
            group.join(queue, member, lease=lease)

    def sleep(self, wake: Callable[[], None]) -> None:
        """Has sweeps of its channels call `wake`. O(channels)."""
        for channel, queue in self.values():
            channel.sleepers[queue] = wake if queue.selection is None else partial(_wake, channel, queue, wake)

    def leave(self, *, encoding: Encoding, lease: Lease) -> None:
        """Lets the client go from the ready groups of its channels. O(channels)."""
        for channel, queue in self.values():
            selection = queue.selection
            group = channel.group(encoding) if selection is None else channel.group_of(selection, encoding)
            group.leave(queue, lease=lease)

    def awake(self) -> None:
        """Has sweeps of its channels wake the client no more. O(channels)."""
        for channel, queue in self.values():
            channel.sleepers.pop(queue, None)

    def take(self, *, max_bytes: int) -> tuple[Subscription, Batch] | None:
        """The next publications, about `max_bytes` of payload, of a channel on which the client is behind.

        None if it is up to date with the last sweeps. Its channels take turns. O(channels).
        """
        for name, place in self.items():
            if place.queue.cursor < place.channel.swept:
                self[name] = self.pop(name)  # to the end of the round; the loop ends here
                return place, place.queue.get_nowait(max_bytes=max_bytes)
        return None

    def take_ahead(self, *, max_bytes: int) -> tuple[Subscription, Batch] | None:
        """The next publications of a queue that passes over some, swept or not; None if there are none. O(channels).

        Its client may not join a ready group before.
        """
        for name, place in self.items():
            if isinstance(place.queue, Excluding) and place.queue.excluded:
                self[name] = self.pop(name)
                return place, place.queue.get_nowait(max_bytes=max_bytes)
        return None

    def behind(self) -> bool:
        """Whether a channel has swept further than its queue stands: `take` would return publications. O(channels)."""
        for channel, queue in self.values():  # noqa: SIM110 - each handshake asks
            if queue.cursor < channel.swept:
                return True
        return False

    def skips(self) -> bool:
        """Whether every queue skips what overflows, so that the client need not go; False for none. O(channels)."""
        return bool(self) and all(queue.overflow is not _DISCONNECT for _, queue in self.values())

    def age(self, now: float) -> None:
        """Has the logs of its channels take as too old what is older than their `forgive_seconds`. O(channels)."""
        for channel, _ in self.values():
            channel.log.age(now - channel.namespace.forgive_seconds)

    def outrun(self) -> bool:
        """Whether most clients are behind on each channel whose queue has overflowed. O(channels)."""
        return all(channel.outrun for channel, queue in self.values() if queue.overflowed())

    def starved(self) -> bool:
        """Whether each queue that has overflowed did so for want of memory. O(channels)."""
        return all(place.starved for place in self.values() if place.queue.overflowed())

    def survey(self) -> tuple[int, int, int, float, bool]:
        """Keeps how far behind each queue is, in one pass. O(channels).

        Returns:
            A number that grows with each publication that the client's sink is given; the publications that the client
            has still to get, their payload bytes, and the time of the oldest, infinite while there are none; and
            whether a queue that must not overflow has.
        """
        cursors, messages, size_bytes, oldest, overflowed = 0, 0, 0, math.inf, False
        for channel, queue in self.values():
            log, cursor = queue.log, queue.cursor
            cursors += cursor
            if queue.selection is None:
                behind = log.head - cursor
                if not behind:
                    continue
                size_bytes += log.bytes_after(cursor)
                time = log.time_at(cursor + 1)
            else:
                behind = queue.qsize()
                if not behind:
                    continue
                size_bytes += queue.qsize_bytes()
                time = log.time_at(queue.selection.next_after(cursor))
            if behind > queue.peak:
                channel.note_lag(queue, behind)
            messages += behind
            if time < oldest:  # noqa: PLR1730 - audits call this for each client that is behind
                oldest = time
            if queue.overflow is _DISCONNECT and queue.overflowed():
                overflowed = True
        return cursors, messages, size_bytes, oldest, overflowed


def _wake(channel: Channel, queue: Queue, wake: Callable[[], None]) -> None:
    """Wakes a client with a filter if there is something for it, or if it has to move."""
    if channel.successor is not None or not queue.empty():
        wake()
