"""Channels in use stay in the engine, however long nobody publishes to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Protocol

_AT_ONCE: Final = 500  # commands: about a millisecond of this process, and two of the engine
_ROUNDS: Final = 4  # within the time for which the engine remembers a channel


class InUse(Protocol):
    """Yields the names of the channels with clients: of all, or of those without a publication."""

    def __call__(self, *, published: bool) -> Iterator[str]:
        """`port.Listener.in_use`."""


class Touches:
    """Owns the invariant that each channel in use is touched several times before the engine would forget it.

    Args:
        channel_seconds: How long the engine remembers a channel.
        unpublished_seconds: How long that is while nothing was published to the channel.
        in_use: The channels with clients.
        touch: Touches a channel: the engine is to remember it for so many milliseconds.
    """

    def __init__(
        self,
        *,
        channel_seconds: float,
        unpublished_seconds: float,
        in_use: InUse,
        touch: Callable[[str, int], None],
    ) -> None:
        self._channel_seconds = channel_seconds
        self._unpublished_seconds = min(unpublished_seconds, channel_seconds)
        self._in_use = in_use
        self._touch = touch
        self._names: Iterator[str] | None = None  # of the round that is under way
        self._milliseconds = 0  # of that round
        self._next_at = self._next_whole_at = 0.0

    def go_on(self, now: float) -> None:
        """Touches some channels, if it is time for a round, or one is under way. O(500 channels)."""
        if self._names is None:
            if now < self._next_at:
                return
            self._begin(now)
        assert self._names is not None
        some = list(islice(self._names, _AT_ONCE))
        for name in some:
            self._touch(name, self._milliseconds)
        if not some:
            self._names = None

    def _begin(self, now: float) -> None:
        whole = now >= self._next_whole_at
        seconds = self._channel_seconds if whole else self._unpublished_seconds
        if whole:
            self._next_whole_at = now + self._channel_seconds / _ROUNDS
        self._next_at = now + self._unpublished_seconds / _ROUNDS
        self._milliseconds = int(seconds * 1000)
        self._names = self._in_use(published=whole)
