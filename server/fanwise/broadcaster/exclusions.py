"""Exclusions: publications that one client of the channel does not get, as they are its own.

An exclusion is a move of one cursor. A client that has everything before the publication goes past it, in the ready
group too. A client that has not gets a queue that passes over the offset when it comes there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from ..core.excluding import Excluding, exclude, excluding
from ..core.group import Cohort
from ..core.hub import Hub
from ..core.publication import Position
from ..core.queue import Batch
from .client import Client, State
from .registry import ClientRegistry
from .subscriptions import Subscription

_READY = State.READY  # as a global: CPython 3.11 makes a call of each attribute of an enum


Whom: TypeAlias = Client | str | None
"""A client, or its id; None: nobody."""
_ID: Final = re.compile(r"[0-9a-f-]{1,64}")


def id_of(client: Client | str) -> str:
    """Returns the id of a client; empty for a text that is no id, as ids may come from strangers."""
    given = client if isinstance(client, str) else client.id
    return given if _ID.fullmatch(given) else ""


class Exclusions:
    """Owns the invariant that an excluded client gets neither the publication nor a gap for it.

    Args:
        hub: The channels.
        registry: The clients.
        move: Moves a client that is up to date to the channels that have taken the place of its own.
    """

    def __init__(self, hub: Hub, registry: ClientRegistry, *, move: Callable[[Client], bool]) -> None:
        self._hub = hub
        self._registry = registry
        self._move = move

    def exclude(self, client_id: str, channel: str, position: Position) -> None:
        """Has a client of a channel not get its newest publication. O(channels of the client).

        To be called in the turn in which the publication was appended. An unknown client is excluded from nothing.
        """
        client = self._registry.find(client_id)
        place = None if client is None else client.subscriptions.get(channel)
        if client is None or place is None:
            return
        if place.channel.successor is not None and client.state is _READY:  # it waits for its turn to move
            client.leave()
            self._move(client)
            place = client.subscriptions[channel]
        if place.channel.log.epoch != position.epoch:
            return  # it is still behind in a log that has ended, and gets what comes after that as history
        if place.queue.cursor == position.offset - 1:
            self._pass(client, place, position.offset)
        else:
            self._pass_later(client, place, position.offset)
        word = client.outbox.dialect.skipped
        if word is not None:
            client.answer(word(channel, position))

    def detour(self, client: Client, max_bytes: int) -> tuple[Subscription, Batch] | None:
        """Returns what a client that has caught up has still to take; None: it may join its ready groups.

        O(its channels).
        """
        subscriptions = client.subscriptions
        taken = subscriptions.take(max_bytes=max_bytes) if self._move(client) else None
        taken = taken or subscriptions.take_ahead(max_bytes=max_bytes)
        for _, queue in subscriptions.values():
            if queue in self._hub.detours and not (isinstance(queue, Excluding) and queue.excluded):
                del self._hub.detours[queue]
        return taken

    def _pass(self, client: Client, place: Subscription, offset: int) -> None:
        """Moves the cursor of a client past a publication, of which it has all before."""
        queue = place.queue
        shared = queue.shared
        if shared is None:
            queue.advance(offset)
        elif isinstance(shared, Cohort) and len(shared) == 1:
            shared.cursor = offset
        else:
            assert client.lease is not None  # who is in a ready group has one
            group = place.group(client.outbox.encoding)
            group.leave(queue, lease=client.lease)
            queue.advance(offset)
            group.join(queue, client, lease=client.lease)

    def _pass_later(self, client: Client, place: Subscription, offset: int) -> None:
        """Has a client pass over a publication when it has got all before."""
        client.leave()
        channel, queue = place
        new = excluding(queue)
        if new is not queue:
            self._hub.replace(channel, queue, new)
            client.subscriptions[channel.name] = Subscription(channel, new)
        exclude(new, offset)
        self._hub.detours[new] = None
