"""Presence on a node: the rosters of its channels, which clients with a known user come to and leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from ..core.codes import CodedError, ErrorCode
from ..core.hub import Hub
from ..core.journal import Journal
from ..core.presence import Presence, Roster
from ..core.publication import check_channel_name
from ..core.rights import User
from .announcer import Announcer
from .client import Client
from .turns import SharedTurn

MOST_LISTED: Final = 10_000  # users in one answer
JOURNAL_SECONDS: Final = 10.0  # for which a journal is kept after another worker has asked for it


class OtherWorkers(Protocol):
    """The users of other workers, as a node asks for them."""

    def watched(self, channel: str) -> None:
        """Hears that somebody begins to watch a channel. O(1)."""

    async def presence(self, channel: str, limit: int) -> Presence:
        """Returns who is on a channel of any worker."""

    def stop(self) -> None:
        """Asks no more."""


class Rosters:
    """Who is on the channels. Owns the invariant that a channel's roster has its clients with a known user.

    Args:
        hub: The channels.
        failed: Notified of a client to which nothing can be sent, and of the error.

    Attributes:
        rosters: {channel: its roster} of those with a known user of this worker, or with somebody who watches.
        watched: {channel: its roster} of those that somebody watches.
        others: The users of other workers; None: there are none.
        identified: Gives a client a user, in the books of its node.
    """

    def __init__(self, hub: Hub, failed: Callable[[Client, Exception], None]) -> None:
        self._hub = hub
        self.rosters: dict[str, Roster] = {}
        self.watched: dict[str, Roster] = {}
        self.others: OtherWorkers | None = None
        self.identified: Callable[[Client, User], None] = lambda client, user: setattr(client, "user", user)
        self._announcer = Announcer(self.watched, failed)
        self._journal: Journal | None = None  # while other workers ask for it
        self._journal_asked_at = 0.0
        self._number = 0  # of the last change in the journal before

    async def __call__(self, channel: str, *, limit: int = 1_000) -> Presence:
        """Returns who is on `channel`, with at most `limit` of the users; of all workers behind a backplane.

        Asking opens no channel: nobody is on one that does not exist. Workers that do not answer within 300 ms are left
        out.

        Raises:
            ChannelNameError: The channel's name is not allowed.
            CodedError: The channel's options say that nobody is told.
            ValueError: The limit is not within 0 and 10,000.
        """
        self.check(channel)
        if not 0 <= limit <= MOST_LISTED:
            raise ValueError(f"limit={limit} is not within 0 and {MOST_LISTED}")
        await SharedTurn().give_way()  # a thousand who ask at once do not hold the loop
        return self.here(channel, limit) if self.others is None else await self.others.presence(channel, limit)

    def check(self, channel: str, *, events: bool = False) -> None:
        """Checks that the channel's options allow presence, or its events.

        Raises:
            ChannelNameError: The channel's name is not allowed.
            CodedError: They do not.
        """
        namespace = self._hub.namespaces.of(check_channel_name(channel))
        if not (namespace.presence_events if events else namespace.presence):
            what = "join and leave are" if events else "presence is"
            raise CodedError(ErrorCode.FORBIDDEN, f"{what} not for channel {channel[:64]!r}, as its options say")

    def here(self, channel: str, limit: int) -> Presence:
        """Returns which clients of this worker are on a channel. O(limit)."""
        roster = self.rosters.get(channel)
        members = [] if roster is None else roster.first(limit)
        users = 0 if roster is None else len(roster.members)
        return Presence(channel, self.count_clients(channel), users, members, truncated=len(members) < users)

    def count_clients(self, channel: str) -> int:
        """Returns how many clients of this worker are on a channel. O(channels that have a successor)."""
        here = self._hub.find(channel)
        moving = sum(len(old.queues) for old in self._hub.retired if old.name == channel)
        return moving + (0 if here is None else len(here.queues))

    # Clients come and go.

    def join(self, client: Client, channel: str) -> None:
        """Hears that a client with a known user is on a channel. O(1)."""
        assert client.user is not None
        roster = self.rosters.get(channel)
        if roster is None:
            roster = self.rosters[channel] = Roster()
        if roster.join(client, client.user):
            self._changed(channel, roster, client.user.id)

    def leave(self, client: Client, channel: str) -> None:
        """Hears that a client has left a channel. O(1)."""
        roster = self.rosters.get(channel)
        if roster is None:
            return
        user_id = roster.leave(client)
        if roster.watchers:
            roster.unwatch(client)
            if not roster.watchers:
                del self.watched[channel]
                roster.forget()
        if user_id is not None:
            self._changed(channel, roster, user_id)
        if not roster:
            del self.rosters[channel]

    def identify(self, client: Client, user: User) -> None:
        """Makes `user` the client's user, on all its channels. O(its channels)."""
        before = client.user
        self.identified(client, user)
        for channel in client.subscriptions:
            roster = self.rosters.get(channel)
            if roster is not None and before is not None and before.id != user.id:
                user_id = roster.leave(client)
                if user_id is not None:
                    self._changed(channel, roster, user_id)
            self.join(client, channel)

    def watch(self, client: Client, channel: str) -> None:
        """Sends a client of the JSON dialect what changes on `channel` from now on, unless it has left. O(1)."""
        if channel not in client.subscriptions:
            return
        roster = self.rosters.get(channel)
        if roster is None:
            roster = self.rosters[channel] = Roster()
        roster.watchers.add(client)
        if channel not in self.watched:
            self.watched[channel] = roster
            if self.others is not None:
                self.others.watched(channel)

    def watches(self, client: Client, channel: str) -> bool:
        """Returns whether a client is sent what changes on `channel`. O(1)."""
        return channel in self.watched and client in self.watched[channel].watchers

    def announce(self, channel: str, roster: Roster) -> None:
        """Has the watchers of a channel told what has changed, if anything. O(1)."""
        if roster.changed:
            self._announcer.schedule(channel, roster)

    def _changed(self, channel: str, roster: Roster, user_id: str) -> None:
        if self._journal is not None:
            self._journal.note(channel, user_id)
        if roster.watchers and user_id not in roster.away:
            roster.note(user_id)
            self._announcer.schedule(channel, roster)

    # For other workers.

    def journal(self) -> Journal:
        """Returns the journal, which is kept from the first call on, and for ten seconds after the last one."""
        loop = asyncio.get_running_loop()
        self._journal_asked_at = loop.time()
        if self._journal is None:
            self._journal = Journal(self._number + 1)  # no number of an older one is known any more
            loop.call_later(JOURNAL_SECONDS, self._end_journal)
        return self._journal

    def _end_journal(self) -> None:
        if self._journal is None:
            return
        loop = asyncio.get_running_loop()
        left = self._journal_asked_at + JOURNAL_SECONDS - loop.time()
        if left > 0:
            loop.call_later(left, self._end_journal)
        else:
            self._number, self._journal = self._journal.number, None

    def stop(self) -> None:
        """Tells nobody anything more."""
        self._announcer.stop()
        if self.others is not None:
            self.others.stop()
            self.others = None


def leave_all(hub: Hub, presence: Rosters, client: Client) -> None:
    """Takes a client that goes off all its channels. O(its channels)."""
    now = asyncio.get_running_loop().time()
    for channel, queue in client.subscriptions.values():
        hub.unsubscribe(channel, queue, time=now)
        if presence.rosters:
            presence.leave(client, channel.name)
    client.subscriptions.clear()
