"""Clients of a channel whose log goes on elsewhere: each gets all of the old log, one gap, and the new one."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

from ..core.channel import Channel
from ..core.hub import Hub
from .client import Client
from .subscriptions import Subscription

_AT_ONCE = 64  # clients that leave their ready group in one turn


class Successors:
    """Owns the invariant that no client stays on a channel that has a successor.

    Args:
        hub: The channels.
        enlist: Has a step called in turns, as long as the step returns True.
    """

    def __init__(self, hub: Hub, enlist: Callable[[Callable[[], bool]], None]) -> None:
        self._hub = hub
        self._enlist = enlist

    def succeeded(self, channel: Channel) -> None:
        """Has the ready clients of `channel`, which was swept to its head, move to its successor, some in a turn."""
        self._enlist(lambda: self._call_some(channel))

    def move(self, client: Client) -> bool:
        """Moves a client that is up to date with its channels to their successors; False if none has one.

        O(its channels).
        """
        moved = False
        for channel, queue in list(client.subscriptions.values()):
            if channel.successor is None:
                continue
            start = self._hub.follow(channel, queue, time=time.monotonic())
            client.subscriptions[channel.name] = Subscription(start.channel, start.queue)
            gap, dialect = start.gap, client.outbox.dialect
            if gap is not None and dialect.gap is not None:
                client.answer(dialect.gap(channel.name, start.channel.log.epoch, gap))
            moved = True
        return moved

    def _call_some(self, channel: Channel) -> bool:
        """Has some clients leave the ready groups, and so take a turn, in which they move. True if there are more."""
        cohorts = [cohort for group in channel.groups.values() for cohort in group if len(cohort)]
        members = cohorts[0].members()[:_AT_ONCE] if cohorts else []
        for member in members:
            member.leave()
        for wake in list(islice(channel.sleepers.values(), _AT_ONCE)):
            wake()
        return bool(cohorts or channel.sleepers)
