"""The registry: the clients of this process, and those that were here lately."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from ..core.counters import Counters
from ..core.reasons import CloseReason
from ..core.rights import User
from .client import Client, State
from .dropped import DROPPED, DroppedClients
from .expiries import Bucket, Expiries
from .hooks import HookRunner

_BEHIND, _READY = State.BEHIND, State.READY  # as globals: CPython 3.11 makes a call of each attribute of an enum
_CLOSED_CLIENTS = 200  # closed clients that are remembered: what fits on a page


_ID_BYTES: Final = 8
_IDS_AT_ONCE: Final = 64
_IDS: Final[list[str]] = []  # that no client has had
os.register_at_fork(after_in_child=_IDS.clear)  # each process has its own


def new_id() -> str:
    """Returns a random id for a client. The kernel is asked for many at once."""
    if not _IDS:
        text, chars = os.urandom(_ID_BYTES * _IDS_AT_ONCE).hex(), 2 * _ID_BYTES
        _IDS.extend([text[at : at + chars] for at in range(0, len(text), chars)])
    return _IDS.pop()


class ClosedClient(NamedTuple):
    """A client that has gone."""

    id: str
    address: str
    reason: CloseReason
    unix_seconds: float  # when
    lag: int = 0  # publications that it still had to get
    lag_bytes: int = 0  # their payload, and what waited in user space for its socket
    subscriptions: int = 0  # channels that it was on
    behind_seconds: float | None = None  # for how long it had been behind; None if it was not
    text: str = ""  # sent in place of the reason's text
    user: str | None = None  # its id; None: unknown


class End(Enum):
    """Why a client is not behind any more."""

    CAUGHT_UP = "caught up"
    LEFT = "left"
    DROPPED = "dropped"  # and remembered


_CAUGHT_UP = End.CAUGHT_UP


class Watch:
    """An audit's notes on a client that is behind.

    Attributes:
        began_at: When the first audit saw it.
        seen_at: When the latest audit saw it.
        moved_at: When its connection last took something.
        answered_at: When the kernel of its peer last owed no answer.
        asked: Whether the kernel was told to ask the peer more often.
        cursors: The sum of its cursors at the latest audit.
        buffered_bytes: Bytes that its sink buffered at the latest audit.
        lag: Publications that it was behind at the latest audit.
        over: Whether its connection held it up then, and a queue that must not overflow had.
        over_since: Its `recoveries` when it was first seen over its bounds; -1 while it is within.
        messages: Publications that it was behind, at most.
        size_bytes: Their payload bytes, at most.
        age_seconds: Age of the oldest of them, at most.
        end: Why it is not behind any more; None while it is.
    """

    __slots__ = (
        "age_seconds",
        "answered_at",
        "asked",
        "began_at",
        "buffered_bytes",
        "cursors",
        "end",
        "lag",
        "messages",
        "moved_at",
        "over",
        "over_since",
        "seen_at",
        "size_bytes",
    )

    def __init__(self, now: float) -> None:
        self.began_at = self.seen_at = self.moved_at = self.answered_at = now
        self.asked = False
        self.messages = self.size_bytes = 0
        self.age_seconds = 0.0
        self.cursors = -1
        self.buffered_bytes = self.lag = 0
        self.over = False
        self.over_since = -1
        self.end: End | None = None

    def look(self, client: Client, now: float) -> bool:
        """Keeps how far behind the client is. O(its queues).

        Returns whether its connection has taken something since the look before, or has nothing to take.
        """
        cursors, overflowed = self.note(client, now)
        held_up, buffered_bytes = client.held_up, client.sink.buffered_bytes
        moved = not held_up or cursors != self.cursors or buffered_bytes < self.buffered_bytes
        self.seen_at, self.cursors, self.buffered_bytes = now, cursors, buffered_bytes
        self.over = held_up and overflowed
        return moved

    def note(self, client: Client, now: float) -> tuple[int, bool]:
        """Keeps how far behind the client is; returns its cursors, and whether it overflowed. O(its queues)."""
        cursors, self.lag, size_bytes, oldest, overflowed = client.subscriptions.survey()
        # As `max`: a call for each would cost an audit a fifth more.
        if self.lag > self.messages:  # noqa: PLR1730
            self.messages = self.lag
        if size_bytes > self.size_bytes:  # noqa: PLR1730
            self.size_bytes = size_bytes
        if now - oldest > self.age_seconds:  # noqa: PLR1730
            self.age_seconds = now - oldest
        return cursors, overflowed


class ClientRegistry:
    """Owns the invariant that a client is here once, from its start until it is closing or closed.

    Args:
        leave: Called once for each client that goes, to let go of its queues.
        tally: The counters.
        on_closed: Notified of each client that has gone.
        hooks: Functions of the application, for clients that come and go; None: there are none.
        clock: Seconds, on the clock of publications' times.

    Attributes:
        clients: {client id: client}.
        users: {id of a user: its clients}, for clients with a user.
        behind: {client that is not ready: what audits have seen of it}, in the order in which they fell behind.
        ended: Notes on clients that were behind at an audit, and are not any more. Audits take them.
        receiving: {client whose `received_bytes` count: None}.
        expiries: When clients end whose users do.
        closed: The latest closed clients, at most 200, the newest last.
        dropped: The clients that the server has given up lately.
    """

    def __init__(
        self,
        *,
        leave: Callable[[Client], None],
        tally: Counters | None = None,
        on_closed: Callable[[ClosedClient], None] = lambda _gone: None,
        hooks: HookRunner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._leave = leave
        self._tally = tally or Counters()
        self._on_closed = on_closed
        self.hooks = hooks
        self.clients: dict[str, Client] = {}
        self.users: dict[str, dict[Client, None]] = {}
        self.behind: dict[Client, Watch | None] = {}
        self.ended: list[Watch] = []
        self.receiving: dict[Client, None] = {}
        self._expiring: dict[Client, Bucket] = {}
        self.expiries = Expiries(self._expiring)
        self.dropped = DroppedClients(self._tally, clock=clock)
        self.closed: deque[ClosedClient] = deque(maxlen=_CLOSED_CLIENTS)

    def __len__(self) -> int:
        return len(self.clients)

    def __bool__(self) -> bool:
        return True  # also while it is empty

    def __iter__(self) -> Iterator[Client]:
        return iter(self.clients.values())

    def find(self, client_id: str) -> Client | None:
        """Returns the client with that id, unless it is closing or closed. O(1)."""
        return self.clients.get(client_id)

    def behind_seconds(self, client: Client) -> float | None:
        """Returns for how long audits have found the client behind; None if the latest has not. O(1)."""
        watch = self.behind.get(client)
        return None if watch is None else watch.seen_at - watch.began_at

    def clients_of(self, user: str) -> list[Client]:
        """Returns the clients of the user with that id, in the order in which they came. O(them)."""
        return list(self.users.get(user, ()))

    def identify(self, client: Client, user: User | None) -> None:
        """Makes `user` that of a client, in place of the one before. O(1)."""
        self._forget_user(client)
        client.user = user
        if user is not None and client.id in self.clients:
            self.users.setdefault(user.id, {})[client] = None

    def add(self, client: Client) -> None:
        """Takes in a client, which is behind until its state changes."""
        self._tally.connections += client.id not in self.clients
        self.clients[client.id] = client
        self.behind[client] = None
        if client.user is not None:
            self.expiries.set(client, client.user.expires_at)
            self.users.setdefault(client.user.id, {})[client] = None
        if self.hooks is not None:
            self.hooks.connected(client)

    def changed(self, client: Client) -> None:
        """Hears that the state of `client` has changed. O(1), or O(its queues) when it goes."""
        if client.state is _READY:
            watch = self.behind.pop(client, None)
            if watch is not None:
                self._end(watch, _CAUGHT_UP)
        elif client.state is _BEHIND:
            self.behind.setdefault(client, None)
        elif self.clients.pop(client.id, None) is not None:
            self._part(client)

    def note_receiving(self, client: Client, *, held: bool) -> None:
        """Hears whether the `received_bytes` of `client` are worth counting. O(1)."""
        if held and client.id in self.clients:
            self.receiving[client] = None
        else:
            self.receiving.pop(client, None)

    def _end(self, watch: Watch, end: End) -> None:
        watch.end = end
        self.ended.append(watch)

    def _end_behind(self, client: Client, reason: CloseReason) -> None:
        """Closes the books on a client that goes while it is behind. O(its queues)."""
        now = self._clock()
        seen = self.behind.pop(client)
        watch = seen or Watch(now)
        watch.note(client, now)
        dropped = reason in DROPPED and bool(client.subscriptions)
        if dropped:
            self.dropped.add(client, (watch.messages, watch.size_bytes, watch.age_seconds))
        if seen is not None:
            self._end(seen, End.DROPPED if dropped else End.LEFT)

    def _forget_user(self, client: Client) -> None:
        """Takes a client out of the books of its user, if it has one."""
        if client.user is None:
            return
        clients = self.users.get(client.user.id)
        if clients is not None:
            clients.pop(client, None)
            if not clients:
                del self.users[client.user.id]

    def _part(self, client: Client) -> None:
        """Closes the books on a client."""
        gone = ClosedClient(
            client.id,
            client.address,
            client.reason or CloseReason.NORMAL,
            time.time(),
            lag=client.lag,
            lag_bytes=client.lag_bytes,
            subscriptions=len(client.subscriptions),
            text=client.close_text,
            behind_seconds=self.behind_seconds(client),
            user=None if client.user is None else client.user.id,
        )
        if client in self.behind:
            self._end_behind(client, gone.reason)
        self.receiving.pop(client, None)
        if self._expiring:
            self._expiring.pop(client, {}).pop(client, None)
        if client.user is not None:
            self._forget_user(client)
        self._tally.close(gone.reason, lag=gone.lag)
        self.closed.append(gone)
        self._leave(client)
        self._on_closed(gone)
        if self.hooks is not None:
            self.hooks.gone(client, gone.reason, dropped=gone.reason in DROPPED, lag=gone.lag)
