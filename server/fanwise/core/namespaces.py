"""Namespaces: the options in force for the channels of one pattern, and the table that finds them by a name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, Final, NamedTuple

from ..errors import OptionsError, shorten
from .options import ANY, ChannelOptions, check_pattern
from .programs import IDLE_SECONDS
from .queue import Overflow
from .shelf import Shelf

# What a log may retain beyond its bounds between two audits, for clients that a burst has put behind: they are judged
# by time, and most bursts are over sooner. An empty publication takes about half a kilobyte.
BURST_MESSAGES: Final = 65_536
BURST_BYTES: Final = 16_777_216
MOST_PATTERNS: Final = 10_000
MOST_WILD_PATTERNS: Final = 256  # with * elsewhere than at the end: an unknown name is compared with each of them
MOST_TIMES: Final = 64  # different values of `history_seconds`: audits look at the channels of each apart
_NOTHING_SAID: Final = ChannelOptions()


class Defaults(NamedTuple):
    """What holds where options say nothing: the broadcaster's own arguments. `forgive_seconds` None: unlimited."""

    queue_messages: int
    queue_bytes: int
    history_messages: int
    history_bytes: int
    history_seconds: float
    overflow: Overflow = Overflow.DISCONNECT
    forgive_seconds: float | None = None


class Namespace:
    """The options in force for the channels of one pattern.

    Attributes:
        pattern: The pattern; None: the channels that no pattern names.
        options: What was given.
        rank: Its place in the order in which patterns are tried.
        overflow: The policy of a queue.
        queue_messages: A queue's bound in publications.
        queue_bytes: A queue's bound in payload bytes.
        forgive_seconds: A queue's bound in age; infinite: unlimited.
        history_messages: A log's bound in publications; 0: nothing that was published before is given to anybody.
        history_bytes: A log's bound in payload bytes.
        history_seconds: How long publications, and channels without clients, are kept.
        log_messages: What a log retains for clients that are behind: the larger one of a queue and the history.
        log_bytes: That in payload bytes.
        most_messages: What a log ever retains, between two audits; one number for all logs, as each takes 32 bytes.
        most_bytes: That in payload bytes.
        keeps_less: Whether a log that nobody is behind on is cut to its history, if that is less than a queue.
        shelf: The books on those channels that are kept for as long.
        max_subscribers: The most clients of one channel; infinite: unlimited.
        is_open: Whether any number of clients may come, and gets what the log retains.
        pace_messages: Publications that are unswept while `publish` waits for the sweep: half a queue.
        pace_bytes: Half a queue in payload bytes.
        slice_bytes: About how much payload one write to a client carries; set by the publisher.
    """

    __slots__ = (
        "forgive_seconds",
        "history_bytes",
        "history_messages",
        "history_seconds",
        "is_open",
        "keeps_less",
        "log_bytes",
        "log_messages",
        "max_subscribers",
        "most_bytes",
        "most_messages",
        "options",
        "overflow",
        "pace_bytes",
        "pace_messages",
        "pattern",
        "queue_bytes",
        "queue_messages",
        "rank",
        "shelf",
        "slice_bytes",
    )

    def __init__(self, pattern: str | None, options: ChannelOptions, defaults: Defaults, rank: int = 0) -> None:
        self.pattern = pattern
        self.options = options
        self.rank = rank
        self.overflow = defaults.overflow if options.overflow is None else Overflow(options.overflow)
        self.queue_messages = _or(options.queue_messages, defaults.queue_messages)
        self.queue_bytes = _or(options.queue_bytes, defaults.queue_bytes)
        forgive_seconds = defaults.forgive_seconds if options.forgive_seconds is None else options.forgive_seconds
        self.forgive_seconds = math.inf if forgive_seconds is None else forgive_seconds
        self.history_messages = _or(options.history_messages, defaults.history_messages)
        self.history_bytes = _or(options.history_bytes, defaults.history_bytes)
        if not self.history_messages or not self.history_bytes:
            self.history_messages = self.history_bytes = 0
        self.history_seconds = _or(options.history_seconds, defaults.history_seconds)
        self.log_messages = max(self.history_messages, self.queue_messages)
        self.log_bytes = max(self.history_bytes, self.queue_bytes)
        self.most_messages = self.log_messages + BURST_MESSAGES
        self.most_bytes = self.log_bytes + BURST_BYTES
        self.keeps_less = options.history_messages is not None or options.history_bytes is not None
        self.max_subscribers = _or(options.max_subscribers, math.inf)
        self.is_open = options.max_subscribers is None and bool(self.history_messages)
        self.pace_messages = (self.queue_messages + 1) // 2
        self.pace_bytes = self.queue_bytes // 2
        self.slice_bytes = self.queue_bytes
        self.shelf = Shelf(self.history_seconds)

    @property
    def restricts(self) -> bool:
        """Whether peers may not open channels, listen or publish as they like."""
        options = self.options
        rates = (options.publishes_per_second, options.max_subscribers)
        return options.create != "anybody" or rates != (None, None)

    @property
    def presence(self) -> bool:
        """Whether users may ask who is on a channel."""
        return self.options.presence

    @property
    def presence_events(self) -> bool:
        """Whether users may ask for an event when one joins or leaves."""
        return self.options.presence and self.options.presence_events

    def __repr__(self) -> str:
        return f"<Namespace {self.pattern}>"


class Namespaces:
    """The namespaces by the names of channels. Owns the invariant that each of them is in force for some name.

    Args:
        channels: {pattern: options}, in the order in which the patterns are tried.
        defaults: What holds where options say nothing.

    Attributes:
        default: The namespace of the channels that no pattern names.
        forgive: Whether the queues of some have a bound in age.
        restrict: Whether some say which peers may open channels, how many may listen, or how fast they may publish.

    Raises:
        OptionsError: A pattern is not allowed, or never reached; or there are too many of them.
    """

    def __init__(self, channels: Mapping[str, ChannelOptions], defaults: Defaults) -> None:
        self.default = Namespace(None, _NOTHING_SAID, defaults, len(channels))
        self._empty = not channels
        self._named: dict[str, Namespace] = {}
        self._beginnings: dict[str, Namespace] = {}
        self._lengths: tuple[int, ...] = ()  # of the beginnings, ascending
        self._wild: list[tuple[re.Pattern[str], Namespace]] = []
        self._all: list[Namespace] = [self.default]
        self._shelves = {self.default.history_seconds: self.default.shelf}
        self._brief: Namespace | None = None
        self._brief_shelf = Shelf(self.default.history_seconds, IDLE_SECONDS)
        if len(channels) > MOST_PATTERNS:
            raise OptionsError([f"there are {len(channels)} patterns, {MOST_PATTERNS} are allowed"])
        for rank, (pattern, options) in enumerate(channels.items()):
            if not isinstance(options, ChannelOptions):
                raise OptionsError([f"the options of {shorten(str(pattern))} are ChannelOptions, not {options!r:.64}"])
            self._add(Namespace(check_pattern(pattern), options, defaults, rank))
        self._check_numbers()
        self.restrict = any(one.restricts for one in self._all)
        self.forgive = any(one.forgive_seconds < math.inf for one in self._all)

    def __bool__(self) -> bool:
        """Returns whether a pattern has options."""
        return not self._empty

    def __iter__(self) -> Iterator[Namespace]:
        """All namespaces; the first one is the default."""
        return iter(self._all)

    def of(self, name: str) -> Namespace:
        """Returns the namespace of a channel. O(lengths of patterns, and patterns with `*` in the middle)."""
        if self._empty:
            return self.default
        best = self._named.get(name, self.default)
        for length in self._lengths:
            if length > len(name):
                break
            found = self._beginnings.get(name[:length])
            if found is not None and found.rank < best.rank:
                best = found
        for pattern, found in self._wild:
            if found.rank > best.rank:
                break
            if pattern.fullmatch(name):
                return found
        return best

    @property
    def shelves(self) -> list[Shelf]:
        """The shelves of all namespaces."""
        return [*self._shelves.values(), self._brief_shelf]

    @property
    def brief(self) -> Namespace:
        """The default namespace for channels that leave soon after their last client. O(1)."""
        if self._brief is None:
            self._brief = copy(self.default)
            self._brief.shelf = self._brief_shelf
        return self._brief

    def _add(self, new: Namespace) -> None:
        """Takes in a namespace behind all others. Raises OptionsError if one of those has all of its names."""
        pattern = new.pattern or ""
        head, star, tail = pattern.partition(ANY)
        before = self._before(head) if star else self.of(pattern)
        if before is not self.default:
            raise OptionsError([f"pattern {pattern!r} is never reached: {before.pattern!r} stands before it"])
        if not star:
            self._named[pattern] = new
        elif not tail:
            self._beginnings[head] = new
            self._lengths = tuple(sorted({*self._lengths, len(head)}))
        else:
            self._wild.append((_compiled(pattern), new))
        new.shelf = self._shelves.setdefault(new.history_seconds, new.shelf)
        self._all.append(new)

    def _before(self, head: str) -> Namespace:
        """Returns the namespace of all names that begin with `head`; the default if there is none."""
        found = (self._beginnings.get(head[:length]) for length in self._lengths if length <= len(head))
        return next((one for one in found if one is not None), self.default)

    def _check_numbers(self) -> None:
        if len(self._wild) > MOST_WILD_PATTERNS:
            problem = f"{len(self._wild)} patterns have * elsewhere than at the end, {MOST_WILD_PATTERNS} may"
            raise OptionsError([problem])
        times = len(self._shelves)
        if times > MOST_TIMES:
            raise OptionsError([f"history_seconds has {times} different values, {MOST_TIMES} are allowed"])

    def check(self, *, memory_bytes: int | None, max_message_bytes: int) -> None:
        """Checks that each channel fits into the memory, and a message into each queue.

        Args:
            memory_bytes: For all logs and transports together; None: unlimited.
            max_message_bytes: The largest payload.

        Raises:
            OptionsError: One does not.
        """
        problems = [problem for one in self._all for problem in _misfits(one, memory_bytes, max_message_bytes)]
        if problems:
            raise OptionsError(problems)


def _misfits(one: Namespace, memory_bytes: int | None, max_message_bytes: int) -> Iterator[str]:
    """Yields what does not fit into what."""
    where = "" if one.pattern is None else f"channels {one.pattern!r}: "
    least, given = 2 * one.log_bytes, one.options.queue_bytes
    if memory_bytes is not None and memory_bytes < least:
        yield f"{where}memory_bytes={memory_bytes} is less than the {least} that one channel may retain"
    if given is not None and given < max_message_bytes:
        yield f"{where}max_message_bytes={max_message_bytes} does not fit into queue_bytes={given}"
    if one.options.create == "nobody" and ANY not in (one.pattern or ""):
        yield f'{where}create="nobody" takes a pattern with {ANY}: a channel with an entry of its own may be opened'


def _compiled(pattern: str) -> re.Pattern[str]:
    """Returns a pattern whose match takes time in proportion to the name: no part is tried again (atomic groups)."""
    head, *middle, tail = map(re.escape, pattern.split(ANY))
    return re.compile(head + "".join(f"(?>.*?{part})" for part in middle) + f".*{tail}")


def _or(value: float | None, default: float) -> Any:
    return default if value is None else value
