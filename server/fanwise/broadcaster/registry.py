"""The registry: the clients of this process, and those that were here lately."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ..core.counters import Counters
from ..core.reasons import CloseReason
from .client import Client, State

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


class Watch:
    """An audit's notes on a client that is behind.

    Attributes:
        began_at: When the first audit saw it.
        seen_at: When the latest audit saw it.
        moved_at: When its connection last took something.
        cursors: The sum of its cursors at the latest audit.
        buffered_bytes: Bytes that its sink buffered at the latest audit.
        over_since: Its `recoveries` when it was first seen over its bounds; -1 while it is within.
    """

    __slots__ = ("began_at", "buffered_bytes", "cursors", "moved_at", "over_since", "seen_at")

    def __init__(self, now: float) -> None:
        self.began_at = self.seen_at = self.moved_at = now
        self.cursors = -1
        self.buffered_bytes = 0
        self.over_since = -1


class ClientRegistry:
    """Owns the invariant that a client is here once, from its start until it is closing or closed.

    Args:
        leave: Called once for each client that goes, to let go of its queues.
        tally: The counters.
        on_closed: Notified of each client that has gone.

    Attributes:
        clients: {client id: client}.
        behind: {client that is not ready: what audits have seen of it}, in the order in which they fell behind.
        receiving: {client whose `received_bytes` count: None}.
        closed: The latest closed clients, at most 200, the newest last.
    """

    def __init__(
        self,
        *,
        leave: Callable[[Client], None],
        tally: Counters | None = None,
        on_closed: Callable[[ClosedClient], None] = lambda _gone: None,
    ) -> None:
        self._leave = leave
        self._tally = tally or Counters()
        self._on_closed = on_closed
        self.clients: dict[str, Client] = {}
        self.behind: dict[Client, Watch | None] = {}
        self.receiving: dict[Client, None] = {}
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

    def add(self, client: Client) -> None:
        """Takes in a client, which is behind until its state changes."""
        self._tally.connections += client.id not in self.clients
        self.clients[client.id] = client
        self.behind[client] = None

    def changed(self, client: Client) -> None:
        """Hears that the state of `client` has changed. O(1), or O(its queues) when it goes."""
        if client.state is _READY:
            self.behind.pop(client, None)
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
        )
        if client in self.behind:
            client.subscriptions.note_lags()
            del self.behind[client]
        self.receiving.pop(client, None)
        self._tally.close(gone.reason, lag=gone.lag)
        self.closed.append(gone)
        self._leave(client)
        self._on_closed(gone)
