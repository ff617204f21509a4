"""Presence: the users on a channel, each once, and what has changed since that was told. Synchronous."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final, NamedTuple

import orjson

from .ranks import Ranks
from .rights import User

MOST_CHANGES: Final = 1_024  # users of a channel whose coming and going is kept until it is told
_AT_ONCE: Final = 256  # users of another worker between two looks at the clock


class Presence(NamedTuple):
    """The users on a channel.

    Attributes:
        channel: Its name. The channel need not exist.
        clients: Connections that are on it, with a known user or without.
        users: Known users, each once. Behind a backplane at least that many, where a worker has more than 10,000.
        members: Users, at most as many as were asked for.
        truncated: Whether `members` lacks some, or a worker behind the backplane has not answered.
    """

    channel: str
    clients: int
    users: int
    members: list[User]
    truncated: bool


class Member:
    """A user, and how many of its clients are on the channel."""

    __slots__ = ("clients", "user")

    def __init__(self, user: User) -> None:
        self.user = user
        self.clients = 0


class Roster:
    """The users on one channel. Owns the invariant that a user is here exactly while one of its clients is.

    Users of other workers are known only while somebody watches.

    Attributes:
        members: {id: member} of this worker, in the order in which they came.
        away: {id: how many other workers have the user}.
        watchers: The clients that are sent what changes.
        missed: The watchers that were not sent what has changed, as they do not read.
        partial: The other workers that have too many users to be known one by one.
    """

    __slots__ = (
        "_changed",
        "_clients",
        "_of",
        "_overrun",
        "_shared",
        "away",
        "members",
        "missed",
        "partial",
        "watchers",
    )

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.away: dict[str, int] = {}
        self.watchers: Ranks[Hashable] = Ranks()
        self.missed: set[Hashable] = set()
        self.partial: set[str] = set()
        self._clients: dict[Hashable, Member] = {}
        self._of: dict[str, set[str]] = {}  # {another worker: ids of its users}
        self._changed: dict[str, User | None] = {}  # {id: the user, if another worker has told of it}
        self._overrun = False  # whether more has changed than is kept
        self._shared = 0  # users that are in `members` and in `away`

    def __bool__(self) -> bool:
        """Returns whether anybody is here or watches."""
        return bool(self._clients or self.watchers)

    @property
    def users(self) -> int:
        """The users that are known, each once. O(1)."""
        return len(self.members) + len(self.away) - self._shared

    @property
    def changed(self) -> bool:
        """Whether there is something to tell."""
        return self._overrun or bool(self._changed)

    def first(self, limit: int) -> list[User]:
        """Returns the first users of this worker. O(limit)."""
        return [member.user for member in islice(self.members.values(), limit)]

    # Clients of this worker.

    def join(self, client: Hashable, user: User) -> bool:
        """Takes in a client of `user`, or new info; returns whether the user is new here, or has new info. O(1)."""
        member = self.members.get(user.id)
        differs = member is None or member.user.info != user.info
        if member is None:
            member = self.members[user.id] = Member(user)
            self._shared += user.id in self.away
        if client not in self._clients:
            self._clients[client] = member
            member.clients += 1
        member.user = user
        return differs

    def leave(self, client: Hashable) -> str | None:
        """Lets a client go; returns the id of its user if that was the user's last one. O(1)."""
        member = self._clients.pop(client, None)
        if member is None:
            return None
        member.clients -= 1
        if member.clients:
            return None
        del self.members[member.user.id]
        self._shared -= member.user.id in self.away
        return member.user.id

    def unwatch(self, client: Hashable) -> None:
        """Sends a client nothing more. O(1)."""
        self.watchers.discard(client)
        self.missed.discard(client)

    def forget(self) -> None:
        """Forgets the users of other workers, and what was not told: nobody watches. O(1)."""
        self.away, self._of, self.partial, self._shared = {}, {}, set(), 0
        self._changed, self._overrun = {}, False

    # Users of other workers.

    def came(self, worker: str, user: User) -> None:
        """Hears that `user` has come to another worker, or has new info there. O(1)."""
        known, elsewhere = self._ids(worker), user.id in self.away
        if user.id not in known:
            self._add(known, user.id)
            if elsewhere:
                return
        if user.id not in self.members:
            self.note(user.id, user)

    def went(self, worker: str, user_id: str) -> None:
        """Hears that a user has left another worker. O(1)."""
        known = self._ids(worker)
        if user_id in known and self._remove(known, user_id) and user_id not in self.members:
            self.note(user_id)

    def agree(self, worker: str, users: AbstractSet[str] | None) -> Iterator[None]:
        """Hears of all users of another worker; None: too many to know. Yields after every 256 users.

        What differs is not told one by one.
        """
        known, users_now = self._ids(worker), users or set()
        new, old = users_now - known, known - users_now
        for number, user_id in enumerate(new, 1):
            self._add(known, user_id)
            if number % _AT_ONCE == 0:
                yield
        for number, user_id in enumerate(old, 1):
            self._remove(known, user_id)
            if number % _AT_ONCE == 0:
                yield
        if users is None:
            self.partial.add(worker)
        else:
            self.partial.discard(worker)
        if new or old or users is None:
            self.overrun()

    def gone(self, worker: str) -> Iterator[None]:
        """Hears that another worker has gone, and its users with it. Yields after every 256 users."""
        for number, user_id in enumerate(list(self._ids(worker)), 1):
            self.went(worker, user_id)
            if number % _AT_ONCE == 0:
                yield
        self._of.pop(worker, None)
        if worker in self.partial:
            self.partial.discard(worker)
            self.overrun()

    def _ids(self, worker: str) -> set[str]:
        return self._of.setdefault(worker, set())

    def _add(self, known: set[str], user_id: str) -> None:
        known.add(user_id)
        workers = self.away.get(user_id, 0)
        self.away[user_id] = workers + 1
        self._shared += not workers and user_id in self.members

    def _remove(self, known: set[str], user_id: str) -> bool:
        """Takes a user off a worker; returns whether no other worker has the user."""
        known.discard(user_id)
        workers = self.away.pop(user_id) - 1
        if workers:
            self.away[user_id] = workers
        else:
            self._shared -= user_id in self.members
        return not workers

    # What is told.

    def note(self, user_id: str, user: User | None = None) -> None:
        """Keeps that a user has come or gone. O(1)."""
        if self._overrun:
            return
        if self.partial or (len(self._changed) >= MOST_CHANGES and user_id not in self._changed):
            self.overrun()
        else:
            self._changed[user_id] = user

    def overrun(self) -> None:
        """Keeps that something has changed, and not what."""
        self._overrun = True
        self._changed.clear()

    def take(self, channel: str, *, most_bytes: int) -> list[bytes]:
        """Returns the messages that tell what has changed, and forgets that. Each user is in one of them at most.

        They are one `presence_gap` where they would take more than `most_bytes`.
        """
        changed, overrun = self._changed, self._overrun
        self._changed, self._overrun = {}, False
        texts: list[bytes] = []
        for user_id, user in changed.items():
            member = self.members.get(user_id)
            now = user if member is None else member.user
            if member is None and user_id not in self.away:
                text = leave_text(channel, user_id)
            elif now is None:  # the user is at another worker, which has not said as whom
                overrun = True
                break
            else:
                text = join_text(channel, now)
            most_bytes -= len(text)
            if most_bytes < 0:
                overrun = True
                break
            texts.append(text)
        return [gap_text(channel, self.users)] if overrun else texts


def join_text(channel: str, user: User) -> bytes:
    """The `join` of the JSON dialect: the user is on the channel, with that info."""
    return orjson.dumps({"op": "join", "channel": channel, "id": user.id, "info": user.info})


def leave_text(channel: str, user_id: str) -> bytes:
    """The `leave` of the JSON dialect: the user's last client has left the channel."""
    return orjson.dumps({"op": "leave", "channel": channel, "id": user_id})


def gap_text(channel: str, users: int) -> bytes:
    """The `presence_gap` of the JSON dialect: users have come or gone, and it was not told which."""
    return orjson.dumps({"op": "presence_gap", "channel": channel, "users": users})
