"""Turns: the order in which nodes publish to a channel that several of them want at once.

The stream refuses all but one of them, and each refusal is a round trip: with many nodes, some of them would lose again
and again. So a node that has lost, or hears that others wait, claims a turn and waits until it is the first. Claims are
messages that no stream keeps. They are advice: a node that has missed one loses a race, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

TURN_SECONDS: Final = 0.05  # for a node that is the first: its message has been heard by then, or is not waited for
_CHANNELS: Final = 1_024  # with claims; others race
_NODES: Final = 256  # in the queue of a channel; others race


class Turns:
    """Owns the invariant that a node waits for others for a bounded time.

    Args:
        sender: The node's name.
        publish: Sends a claim to all nodes, this one too.
        come: Hears that it is this node's turn in a channel.
    """

    def __init__(self, sender: str, *, publish: Callable[[bytes], None], come: Callable[[str], None]) -> None:
        self._sender = sender
        self._publish = publish
        self._come = come
        self._loop = asyncio.get_running_loop()
        self._queues: dict[str, dict[str, float]] = {}  # {channel: {node: when its turn ends; 0 before it begins}}
        self._claims: dict[str, float] = {}  # {channel: when our claim is not waited for any more}
        self._timer: asyncio.TimerHandle | None = None

    def clear(self) -> None:
        """Forgets all claims: the link has gone."""
        self._queues.clear()
        self._claims.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def is_ours(self, channel: str, *, lost: bool) -> bool:
        """Returns whether this node may publish to a channel now; claims a turn if not. O(1).

        Args:
            channel: The channel.
            lost: Whether another node was faster at the latest attempt.
        """
        queue = self._queues.get(channel)
        if queue is None:
            if not lost or len(self._queues) >= _CHANNELS:
                return True
        elif next(iter(queue)) == self._sender:
            return True
        if channel not in self._claims:
            self._claims[channel] = self._loop.time() + 2 * TURN_SECONDS * (1 + len(queue or ()))
            self._publish(b"%b %b" % (self._sender.encode(), channel.encode()))
            self._wake()
        return False

    def claimed(self, claim: bytes) -> None:
        """Hears a claim of any node. O(1)."""
        sender, _, channel = claim.decode().partition(" ")
        queue = self._queues.get(channel)
        if queue is None:
            if len(self._queues) >= _CHANNELS:
                return
            self._queues[channel] = {sender: self._loop.time() + TURN_SECONDS}
            self._wake()
            self._begin(channel, sender)
        elif len(queue) < _NODES:
            queue.setdefault(sender, 0.0)

    def over(self, channel: str, sender: str) -> None:
        """Hears that a node has published to a channel: the next one has its turn. O(1)."""
        if sender == self._sender:
            self._claims.pop(channel, None)
        queue = self._queues.get(channel)
        if queue is None or sender not in queue:
            return
        first = next(iter(queue))
        del queue[sender]
        if not queue:
            del self._queues[channel]
        elif sender == first:
            first = next(iter(queue))
            queue[first] = self._loop.time() + TURN_SECONDS
            self._begin(channel, first)

    def _begin(self, channel: str, sender: str) -> None:
        if sender == self._sender:
            self._come(channel)

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(TURN_SECONDS / 2, self._look)

    def _look(self) -> None:
        """Ends turns that have lasted for too long, and gives up on claims that do not come to their turn."""
        self._timer = None
        now = self._loop.time()
        for channel, queue in list(self._queues.items()):
            first, until = next(iter(queue.items()))
            if until <= now:
                self.over(channel, first)
        for channel, until in list(self._claims.items()):
            if until <= now and self._claims.pop(channel, None) is not None:
                self._queues[channel] = {self._sender: now + TURN_SECONDS, **self._queues.get(channel, {})}
                self._come(channel)
        if self._queues or self._claims:
            self._wake()
