"""Retention: which publications and which channels stay, and for how long. Synchronous; the caller has the time."""

from __future__ import annotations

from collections import OrderedDict  # a dict whose first entry is found at once, also when many before it have gone
from collections.abc import MutableMapping
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from .channel import Channel

_AGE_STEPS: Final = 8  # looks at a log's age per `history_seconds`: a publication stays for an eighth longer at most
_FEW_CHANNELS: Final = 1000  # whose tables are not worth a thought
_AT_ONCE: Final = 2_000  # channels that are forgotten in one go: some milliseconds of work


class Retention:
    """Owns the invariant that logs come back within their bounds, and that all of them together fit into a budget.

    Args:
        channels: The hub's channels by name. Channels whose time is up are removed from here.
        max_messages: A log's bound in publications.
        max_bytes: A log's bound in payload bytes.
        history_seconds: How long a channel stays after its last client and its newest publication, and a log retains
            publications other than the newest.

    Attributes:
        grown: The channels that were published to, until an audit finds their logs within
            the bounds and their clients not outrun.
        charged_bytes: Memory of all channels at the last audit, estimated.
    """

    def __init__(
        self, channels: dict[str, Channel], *, max_messages: int, max_bytes: int, history_seconds: float
    ) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.history_seconds = history_seconds
        self.charged_bytes = 0
        self.grown: dict[Channel, None] = {}
        self._channels = channels
        self._peak = 0  # how many channels there were since the tables were last made
        # {channel without clients: since when}, the longest idle first. Channels without a publication are apart: they
        # go first.
        self._idle: OrderedDict[Channel, float] = OrderedDict()
        self._empty: OrderedDict[Channel, float] = OrderedDict()
        # {channel with a log: when its age was looked at}, the longest ago first
        self._aging: OrderedDict[Channel, float] = OrderedDict()

    def opened(self, channel: Channel, *, time: float) -> None:
        """Takes in a new channel, which has no clients. O(1)."""
        self._peak = max(self._peak, len(self._channels))
        self.idle(channel, time=time)
        self._charge(channel)

    def idle(self, channel: Channel, *, time: float) -> None:
        """Notes that a channel has no clients. The channel stays for a while, with its epoch. O(1)."""
        if self._empty:
            self._empty.pop(channel, None)
        book = self._idle if channel.log.head else self._empty
        book[channel] = time
        book.move_to_end(channel)

    def replaced(self, channel: Channel) -> None:
        """Notes that another channel has taken the name of `channel`, whose log grows no more. O(1)."""
        for book in (self.grown, self._empty, self._idle, self._aging):
            book.pop(channel, None)
        self._charge(channel)

    def released(self, channel: Channel) -> None:
        """Notes that the last client of a replaced channel has left. O(1)."""
        self.charged_bytes -= channel.charged_bytes
        channel.charged_bytes = 0

    def busy(self, channel: Channel) -> None:
        """Notes that a channel has a client: the channel stays. O(1)."""
        self._idle.pop(channel, None)
        self._empty.pop(channel, None)

    def settle(self, channel: Channel) -> None:
        """Cuts a log to its bounds between two audits, unless a client is behind. O(what is dropped)."""
        if not channel.behind():
            channel.trim(max_messages=self.max_messages, max_bytes=self.max_bytes)

    def trim(self, time: float) -> None:
        """Cuts logs to their bounds, but for what came since the last audit. O(channels published to since)."""
        for channel in list(self.grown):
            channel.trim(max_messages=self.max_messages, max_bytes=self.max_bytes)
            self._charge(channel)
            self._aging.setdefault(channel, time)
            log = channel.log
            within = len(log) <= self.max_messages and log.retained_bytes <= self.max_bytes
            if within and not channel.outrun:  # which the next audit looks at again
                del self.grown[channel]

    def expire(self, time: float) -> None:
        """Forgets channels and publications that have been here for `history_seconds`, some thousands at a time."""
        for book in (self._empty, self._idle):
            for channel, since in list(islice(book.items(), _AT_ONCE)):
                if time - since < self.history_seconds:
                    break
                self._forget(channel)
        for channel, since in list(islice(self._aging.items(), _AT_ONCE)):
            if time - since < self.history_seconds / _AGE_STEPS:
                break
            del self._aging[channel]
            if not channel.behind():
                channel.log.expire(time - self.history_seconds)
                self._charge(channel)
            if len(channel.log) > 1:
                self._aging[channel] = time
        self._shrink()

    def fit(self, budget_bytes: int) -> None:
        """Lets go of history until the channels fit into `budget_bytes`, if that helps.

        Channels without clients are forgotten, the longest idle first; then the costliest logs are halved, each once.
        O(what goes), or O(channels) for the latter.
        """
        while self.charged_bytes > budget_bytes and self.make_room():
            pass
        if self.charged_bytes > budget_bytes:
            shrinkable = [channel for channel in self._channels.values() if len(channel.log) > 1]
            for channel in sorted(shrinkable, key=attrgetter("charged_bytes"), reverse=True):
                if self.charged_bytes <= budget_bytes:
                    return
                channel.halve()
                self._charge(channel)

    def make_room(self) -> bool:
        """Forgets the channel that has been without clients for longest; False if all channels have clients. O(1).

        Channels that never had a publication go before all others.
        """
        channel = next(iter(self._empty or self._idle), None)
        if channel is not None:
            self._forget(channel)
        return channel is not None

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.name]
        self.charged_bytes -= channel.charged_bytes
        for book in (self.grown, self._empty, self._idle, self._aging):
            book.pop(channel, None)

    def _charge(self, channel: Channel) -> None:
        cost = channel.cost_bytes
        self.charged_bytes += cost - channel.charged_bytes
        channel.charged_bytes = cost

    def _shrink(self) -> None:
        """Lets go of the tables that many forgotten channels needed: a dict never shrinks by itself."""
        if self._peak > _FEW_CHANNELS and len(self._channels) < self._peak // 8:
            self._peak = len(self._channels)
            for table in (self._channels, self.grown, self._empty, self._idle, self._aging):
                _remake(table)


def _remake(table: MutableMapping[Any, Any]) -> None:
    """Gives a dict a table of its present size. The dict stays the same object: others hold it."""
    entries = list(table.items())
    table.clear()
    table.update(entries)
