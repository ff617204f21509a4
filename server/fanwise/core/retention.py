"""Retention: which publications and which channels stay, and for how long. Synchronous; the caller has the time."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Any, Final

from .channel import Channel
from .namespaces import Namespaces
from .shelf import Shelf

_AGE_STEPS: Final = 8  # looks at a log's age per `history_seconds`: a publication stays for an eighth longer at most
_FEW_CHANNELS: Final = 1000  # whose tables are not worth a thought
_AT_ONCE: Final = 2_000  # channels that are forgotten in one go: some milliseconds of work


class Retention:
    """Owns the invariant that logs come back within their bounds, and that all of them together fit into a budget.

    Args:
        channels: The hub's channels by name. Channels whose time is up are removed from here.
        namespaces: The bounds of their logs.

    Attributes:
        max_messages: A log's bound in publications where no options say another one.
        max_bytes: Its bound in payload bytes.
        history_seconds: For how long channels and publications are kept there.
        grown: The channels that were published to, until an audit finds their logs within
            the bounds and their clients not outrun.
        charged_bytes: Memory of all channels at the last audit, estimated.
    """

    def __init__(self, channels: dict[str, Channel], namespaces: Namespaces) -> None:
        default = namespaces.default
        self.max_messages = default.log_messages
        self.max_bytes = default.log_bytes
        self.history_seconds = default.history_seconds
        self.charged_bytes = 0
        self.grown: dict[Channel, None] = {}
        self._channels = channels
        self._shelves = namespaces.shelves
        self._peak = 0  # how many channels there were since the tables were last made

    def opened(self, channel: Channel, *, time: float) -> None:
        """Takes in a new channel, which has no clients. O(1)."""
        self._peak = max(self._peak, len(self._channels))
        self.idle(channel, time=time)
        self._charge(channel)

    def idle(self, channel: Channel, *, time: float) -> None:
        """Notes that a channel has no clients. The channel stays for a while, with its epoch. O(1)."""
        shelf = channel.namespace.shelf
        if shelf.empty:
            shelf.empty.pop(channel, None)
        book = shelf.idle if channel.log.head else shelf.empty
        book[channel] = time
        book.move_to_end(channel)

    def replaced(self, channel: Channel) -> None:
        """Notes that another channel has taken the name of `channel`, whose log grows no more. O(1)."""
        self.grown.pop(channel, None)
        channel.namespace.shelf.forget(channel)
        self._charge(channel)

    def released(self, channel: Channel) -> None:
        """Notes that the last client of a replaced channel has left. O(1)."""
        self.charged_bytes -= channel.charged_bytes
        channel.charged_bytes = 0

    def busy(self, channel: Channel) -> None:
        """Notes that a channel has a client: the channel stays. O(1)."""
        shelf = channel.namespace.shelf
        shelf.idle.pop(channel, None)
        shelf.empty.pop(channel, None)

    def settle(self, channel: Channel) -> None:
        """Cuts a log to its bounds between two audits, unless a client is behind. O(what is dropped)."""
        if not channel.behind():
            messages, size_bytes = self._bounds(channel)
            channel.trim(max_messages=messages, max_bytes=size_bytes)

    def trim(self, time: float) -> None:
        """Cuts logs to their bounds, but for what came since the last audit. O(channels published to since)."""
        for channel in list(self.grown):
            messages, size_bytes = self._bounds(channel)
            channel.trim(max_messages=messages, max_bytes=size_bytes)
            self._charge(channel)
            channel.namespace.shelf.aging.setdefault(channel, time)
            log = channel.log
            within = len(log) <= messages and log.retained_bytes <= size_bytes
            if within and not channel.outrun:  # which the next audit looks at again
                del self.grown[channel]

    def _bounds(self, channel: Channel) -> tuple[int, int]:
        """Returns what a log may retain now: messages and payload bytes.

        A queue's worth at least, while its clients may need that. Where options say how much history there is, and no
        client is behind, that is all, but for the newest publication and for those that the next sweep has to write.
        """
        space = channel.namespace
        if space.pattern is None:
            return self.max_messages, self.max_bytes
        if not space.keeps_less or channel.behind():
            return space.log_messages, space.log_bytes
        newest_bytes = channel.log.bytes_after(channel.log.head - 1) if channel.log.head else 0
        least, least_bytes = max(channel.unswept, 1), max(channel.unswept_bytes, newest_bytes)
        return max(space.history_messages, least), max(space.history_bytes, least_bytes)

    def expire(self, time: float) -> None:
        """Forgets channels and publications whose time is up, some thousands at a time."""
        for shelf in self._shelves:
            self._expire(shelf, time)
        self._shrink()

    def _expire(self, shelf: Shelf, time: float) -> None:
        history_seconds = shelf.history_seconds
        for book in (shelf.empty, shelf.idle):
            for channel, since in list(islice(book.items(), _AT_ONCE)):
                if time - since < shelf.idle_seconds:
                    break
                self._forget(channel)
        for channel, since in list(islice(shelf.aging.items(), _AT_ONCE)):
            if time - since < history_seconds / _AGE_STEPS:
                break
            del shelf.aging[channel]
            if not channel.behind():
                channel.log.expire(time - history_seconds)
                self._charge(channel)
            if len(channel.log) > 1:
                shelf.aging[channel] = time

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
        """Forgets the channel that has been without clients for longest; False if all channels have clients.

        Channels that never had a publication go before all others. O(different values of `history_seconds`).
        """
        channel = _first(shelf.empty for shelf in self._shelves) or _first(shelf.idle for shelf in self._shelves)
        if channel is not None:
            self._forget(channel)
        return channel is not None

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.name]
        self.charged_bytes -= channel.charged_bytes
        self.grown.pop(channel, None)
        channel.namespace.shelf.forget(channel)

    def _charge(self, channel: Channel) -> None:
        cost = channel.cost_bytes
        self.charged_bytes += cost - channel.charged_bytes
        channel.charged_bytes = cost

    def _shrink(self) -> None:
        """Lets go of the tables that many forgotten channels needed: a dict never shrinks by itself."""
        if self._peak > _FEW_CHANNELS and len(self._channels) < self._peak // 8:
            self._peak = len(self._channels)
            books = [book for shelf in self._shelves for book in (shelf.empty, shelf.idle, shelf.aging)]
            tables: list[MutableMapping[Any, Any]] = [self._channels, self.grown, *books]
            for table in tables:
                _remake(table)


def _first(books: Iterable[MutableMapping[Channel, float]]) -> Channel | None:
    """Returns the channel that has been in one of the books for longest."""
    firsts = (next(iter(book.items())) for book in books if book)
    return min(firsts, key=itemgetter(1), default=(None,))[0]


def _remake(table: MutableMapping[Any, Any]) -> None:
    """Gives a dict a table of its present size. The dict stays the same object: others hold it."""
    entries = list(table.items())
    table.clear()
    table.update(entries)
