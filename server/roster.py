"""The roster: the clients of this process, and the judgement over those of them that are behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from .client import Client, State
from .reasons import CloseReason


class Roster:
    """Owns the invariant that a client is here once, from its start until it is closing or closed.

    Args:
        leave: Called once for each client that goes, to let go of its queues.
    """

    def __init__(self, *, leave: Callable[[Client], None]) -> None:
        self._leave = leave
        self._clients: dict[str, Client] = {}  # {client id: client}
        self._behind: dict[Client, None] = {}  # those that are not ready
        self.closed: Counter[CloseReason] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients.values())

    def add(self, client: Client) -> None:
        """Takes in a client, which is behind until it says otherwise."""
        self._clients[client.id] = client
        self._behind[client] = None

    def changed(self, client: Client) -> None:
        """Hears that the state of `client` has changed. O(1), or O(its queues) when it goes."""
        if client.state is State.READY:
            self._behind.pop(client, None)
        elif client.state is State.BEHIND:
            self._behind[client] = None
        elif self._clients.pop(client.id, None) is not None:
            self._behind.pop(client, None)
            self.closed[client.reason or CloseReason.NORMAL] += 1
            self._leave(client)

    def audit(self) -> None:
        """Closes the clients that their own connection holds up for longer than their queues allow. O(behind)."""
        for client in list(self._behind):
            if client.overflowed():
                client.close(CloseReason.SLOW)
