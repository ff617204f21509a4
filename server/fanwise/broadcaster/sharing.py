"""A node behind a backplane: publications that arrive go into its logs, and channels are opened where the engine is."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from ..backplane.counts import Counts
from ..backplane.port import Arrival, Backplane, Opened, Standing
from ..core.channel import Channel
from ..core.hub import Hub
from ..core.log import Entry, Log
from ..core.publication import Beginning, Last, Position, check_channel_name
from ..errors import BackplaneDownError, FanwiseError
from .looks import is_published
from .publisher import Publisher
from .submitter import Submitter
from .successors import Successors

OPEN_SECONDS: Final = 2.0  # for which a subscriber waits for the engine
DOWN_SECONDS: Final = 2.0  # after which a node without the engine is not ready
_TURN_SECONDS: Final = 0.002  # of a turn of the loop, for what arrives
_REOPENED_AT_ONCE: Final = 200  # channels, after an interruption: two scripts of the engine
_WOKEN_AT_ONCE: Final = 100  # of those who wait for a channel: a millisecond
_FEW_CHANNELS: Final = 1000  # whose entries in a table are not worth a thought


class Sharing:
    """A `port.Listener`. Owns the invariant that each log is a part of the engine's: no hole, and nothing else in it.

    Args:
        backplane: The node's connection to the engine.
        hub: The channels.
        publisher: Sweeps what arrives.
        successors: Moves clients when a log ends.

    Attributes:
        submitter: Hands publications to the engine.
    """

    def __init__(self, backplane: Backplane, hub: Hub, publisher: Publisher, successors: Successors) -> None:
        self._backplane = backplane
        self._hub = hub
        self._publisher = publisher
        self._successors = successors
        self.submitter = Submitter(backplane, hub, publisher)
        self._opening: dict[str, list[asyncio.Future[bool]]] = {}  # {channel: who waits for any answer}
        self._asked: dict[str, Position] = {}  # {channel: the position after which the engine was asked for all}
        # Channels after an interruption: the answer has what arrives meanwhile.
        self._reopening: set[str] = set()
        self._to_reopen: deque[str] = deque()  # those of them that the engine is not asked for yet
        self._reopens = 0  # for which it is asked now
        self._reopens_soon = False
        self._loop = asyncio.get_running_loop()
        self._turn_ends_at = 0.0  # of what arrives in this turn of the loop; 0: nothing has
        self._ended = False

    async def start(self) -> None:
        """Connects. Raises SettingsError if the engine refuses."""
        await self._backplane.start(self)

    async def stop(self) -> None:
        """Disconnects."""
        self._ended = True
        await self._backplane.stop()

    @property
    def counts(self) -> Counts:
        """What the node counts of its backplane."""
        return self._backplane.counts

    def standing(self) -> Standing:
        """Returns how the backplane is. O(shards)."""
        return self._backplane.standing()

    @property
    def is_down(self) -> bool:
        """Whether the engine has been away for too long to take in new clients. O(shards)."""
        standing = self._backplane.standing()
        return not standing.up and standing.silent_seconds >= DOWN_SECONDS

    # Channels.

    async def ready(self, name: str, since: Beginning | None) -> None:
        """Waits until the channel is open here, with what comes from `since` on as far as the engine has it.

        The channel is open, and stays so, until the caller awaits something.

        Raises:
            BackplaneDownError: The engine did not answer in time.
            ChannelLimitError: There is no room for another channel.
            ChannelNameError: The channel's name is not allowed.
            NoChannelError: Options let no channel of that name be opened.
        """
        self._hub.check_allowed(check_channel_name(name))
        if isinstance(since, Last):
            since = await self._before_head(name, since.among)
        if self._is_ready(name, since, current=False):
            return
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                current = await self._ask(name, self._wanted(name, since, current=False))
                while not self._is_ready(name, since, current=current):
                    current = await self._ask(name, self._wanted(name, since, current=current)) or current
        except TimeoutError:
            why = self._backplane.standing().why or "it does not answer"
            raise BackplaneDownError(why) from None

    async def is_published(self, name: str) -> bool:
        """Returns whether the engine has a publication of a channel, which does not begin: `looks.is_published`."""
        return await is_published(self._backplane, check_channel_name(name), within_seconds=OPEN_SECONDS)

    async def _before_head(self, name: str, count: int) -> Position:
        """Returns the position before the `count` newest publications, when the channel is open here."""
        await self.ready(name, None)
        channel = self._hub.find(name)
        assert channel is not None  # it stays open until somebody awaits something
        return _before_head(channel.log, count)

    def can_begin(self, name: str, since: Beginning | None) -> bool:
        """Whether `ready` has nothing to wait for, as far as that can be said at once. O(1)."""
        channel = self._hub.find(name)
        if channel is None:
            return False
        wanted = _before_head(channel.log, since.among) if isinstance(since, Last) else since
        return self._is_ready(name, wanted, current=False)

    def is_open(self, name: str) -> bool:
        """Whether the channel is open here, and nothing of it is missing."""
        return self._hub.find(name) is not None and name not in self._reopening

    def _is_ready(self, name: str, since: Position | None, *, current: bool) -> bool:
        """Whether a client can begin after `since`; `current`: the log has all that the engine had when it came."""
        channel = self._hub.find(name)
        if channel is None or name in self._reopening:
            return False
        log = channel.log
        if since is None:
            return True
        if since.epoch != log.epoch or since.offset > log.head:
            # Another server may be ahead of this one. Only then is it a log that is gone, of which all is wanted.
            return current and self._covers(log, 0)
        return self._covers(log, since.offset)

    def _covers(self, log: Log, offset: int) -> bool:
        """Whether a log has all after an offset that the engine has."""
        asked = self._asked.get(log.channel)
        return log.first - 1 <= offset or (asked is not None and asked.epoch == log.epoch and asked.offset <= offset)

    def _wanted(self, name: str, since: Position | None, *, current: bool) -> Position | None:
        """Returns after which position the engine is to be asked."""
        channel = self._hub.find(name)
        if channel is None or since is None:
            return since
        log = channel.log
        if since.epoch == log.epoch and since.offset <= log.head:
            return since
        return Position(log.epoch, 0 if current else log.head)

    async def _ask(self, name: str, since: Position | None) -> bool:
        """Waits for an answer; returns whether it says where the channel stood after this was called.

        Those who want no history share one question. An answer to others may be older than what a client has had.
        """
        future: asyncio.Future[bool] = self._loop.create_future()
        if since is not None and name not in self._reopening:
            self._backplane.open(name, since, partial(self._opened, name, since, future))
        else:
            waiting = self._opening.setdefault(name, [])
            waiting.append(future)
            if name not in self._reopening and len(waiting) == 1:
                self._backplane.open(name, None, partial(self._opened, name, None, None))
        return await future

    def _note_asked(self, name: str, since: Position, epoch: str) -> None:
        """Notes that the engine was asked for all after a position."""
        offset = since.offset if since.epoch == epoch else 0
        before = self._asked.get(name)
        if before is None or before.epoch != epoch or offset < before.offset:
            self._asked[name] = Position(epoch, offset)
        if len(self._asked) > 2 * len(self._hub) + _FEW_CHANNELS:  # channels were forgotten
            self._asked = {name: asked for name, asked in self._asked.items() if self._hub.find(name) is not None}

    def _opened(
        self, name: str, since: Position | None, asker: asyncio.Future[bool] | None, opened: Opened | Exception
    ) -> None:
        if self._hub.find(name) is None:
            self._asked.pop(name, None)  # of a log that was forgotten: the next one has nothing of that
        if since is not None and not isinstance(opened, Exception):
            self._note_asked(name, since, opened.epoch)
        error = self._answered(name, opened)
        if name not in self._reopening:
            if asker is not None:
                _settle(asker, error, current=True)
            self._wake(name, error)
        elif asker is not None:
            self._opening.setdefault(name, []).append(asker)

    def _wake(self, name: str, error: Exception | None) -> None:
        """Answers all who wait for a channel, some in each turn of the loop: each goes on in the next one."""
        self._wake_some(iter(self._opening.pop(name, ())), error)

    def _wake_some(self, waiting: Iterator[asyncio.Future[bool]], error: Exception | None) -> None:
        some = list(islice(waiting, _WOKEN_AT_ONCE))
        for future in some:
            _settle(future, error, current=False)
        if len(some) == _WOKEN_AT_ONCE:
            self._loop.call_soon(self._wake_some, waiting, error)

    def _answered(self, name: str, opened: Opened | Exception) -> Exception | None:
        """Takes over what the engine has said; returns why that cannot be."""
        if isinstance(opened, Exception):
            return opened
        channel = self._hub.find(name)
        try:
            if channel is None:
                self._adopt(name, opened)
            else:
                self._catch_up(channel, opened)
        except FanwiseError as error:  # there is no room for another channel
            return error
        return None

    def _adopt(self, name: str, opened: Opened) -> None:
        start = opened.head - len(opened.publications)
        channel = self._hub.adopt(name, epoch=opened.epoch, start=start, time=time.monotonic())
        self._append(channel, opened.publications)

    def _catch_up(self, channel: Channel, opened: Opened) -> None:
        log, publications = channel.log, opened.publications
        if opened.epoch != log.epoch:
            channel = self._succeed(channel, opened.epoch, opened.head - len(publications))
        elif publications and publications[0].offset > log.head + 1:
            channel = self._succeed(channel, opened.epoch, publications[0].offset - 1)
        elif not publications and opened.head > log.head:
            channel = self._succeed(channel, opened.epoch, opened.head)
        older = [one for one in publications if one.offset < channel.log.first] if channel.log is log else []
        if older and older[-1].offset == log.first - 1:
            latest = log.time_at(log.first) if len(log) else time.monotonic()
            log.prepend([Entry(one.payload, one.kind, at, one.key, one.tags) for one, at in _timed(older, latest)])
        self._append(channel, [one for one in publications if one.offset > channel.log.head])

    def _append(self, channel: Channel, publications: Sequence[Arrival]) -> None:
        earliest = channel.log.time_at(channel.log.head) if len(channel.log) else 0.0
        for one, at in _timed(publications, time.monotonic()):
            self._publisher.take(
                channel, one.payload, kind=one.kind, time=max(at, earliest), key=one.key, tags=one.tags
            )
            if one.exclude is not None:
                self._publisher.exclude(one.exclude, channel.name, Position(channel.log.epoch, channel.log.head))

    def _succeed(self, channel: Channel, epoch: str, start: int) -> Channel:
        self._publisher.flush(channel)
        successor = self._hub.succeed(channel, epoch=epoch, start=start, time=time.monotonic())
        if channel.queues:
            self._successors.succeeded(channel)
        return successor

    # What the backplane calls (`port.Listener`).

    def arrived(self, arrivals: Sequence[Arrival]) -> bool:
        """Appends to the logs of the channels that are open here. False: the sweeps, or others, need a turn first."""
        find, reopening, take, counts = self._hub.find, self._reopening, self._publisher.take, self._backplane.counts
        now = time.monotonic()
        crowded, skipped, received = False, 0, len(arrivals)
        for name, epoch, offset, payload, kind, key, _, tags, exclude, span, more in arrivals:
            if more:
                received += len(more)
            channel = find(name)
            if channel is None or (reopening and name in reopening):
                skipped += 1 + len(more) if more else 1
                continue
            known = channel.log.head + 1 - offset
            if epoch != channel.log.epoch or known < 0:
                channel, known = self._succeed(channel, epoch, offset - 1), 0
            if more:
                skipped += min(known, 1 + len(more))
                crowded = self._publisher.take_all(channel, [payload, *more][known:], kind=kind, time=now) or crowded
            elif known:
                skipped += 1
            else:
                crowded = take(channel, payload, kind=kind, time=now, key=key, tags=tags) or crowded
                if exclude is not None:
                    self._publisher.exclude(exclude, name, Position(epoch, offset))
                if span is not None and self._publisher.spans is not None:
                    self._publisher.spans.arrived(channel, Position(epoch, offset), now, span)
        counts.received += received
        if arrivals:
            counts.delay.observe(max(0.0, time.time() - arrivals[0].at_ms / 1000), received)
        counts.skipped += skipped
        return self._has_time(now) and not crowded

    def interrupted(self, concerns: Callable[[str], bool]) -> None:
        """Opens the channels anew, after the heads of their logs. O(channels)."""
        names = [channel.name for channel in self._hub if concerns(channel.name)]
        self._to_reopen += [name for name in names if name not in self._reopening]
        self._reopening.update(names)
        self._reopen_some()

    def in_use(self, *, published: bool) -> Iterator[str]:
        """Yields the names of the channels with clients: of all, or of those without a publication."""
        return (channel.name for channel in list(self._hub) if channel.queues and (published or not channel.log.head))

    def _reopen_some(self) -> None:
        """Asks for some channels that were interrupted, if few are under way. O(200 channels)."""
        self._reopens_soon = False
        for _ in range(min(len(self._to_reopen), _REOPENED_AT_ONCE - self._reopens)):
            name = self._to_reopen.popleft()
            channel = self._hub.find(name)
            self._reopens += 1
            if channel is None:  # it was forgotten meanwhile
                self._reopened(name, None)
            else:
                since = Position(channel.log.epoch, channel.log.head)
                self._backplane.open(name, since, partial(self._reopened, name))

    def _reopened(self, name: str, opened: Opened | Exception | None) -> None:
        self._reopens -= 1
        if isinstance(opened, Exception) and not self._ended:
            self._to_reopen.append(name)  # clients are on it, and wait
            self._wake(name, opened)
        else:
            self._reopening.discard(name)
            self._wake(name, None if opened is None else self._answered(name, opened))
        if self._to_reopen and not self._reopens_soon and not self._ended:
            self._reopens_soon = True
            self._loop.call_soon(self._reopen_some)

    def _has_time(self, now: float) -> bool:
        """Whether more may arrive in this turn of the loop; has the backplane go on in the next one otherwise."""
        if not self._turn_ends_at:
            self._turn_ends_at = now + _TURN_SECONDS
            self._loop.call_soon(self._next_turn)
        return time.monotonic() < self._turn_ends_at

    def _next_turn(self) -> None:
        self._turn_ends_at = 0.0
        if not self._ended:
            self._backplane.go_on()


def _before_head(log: Log, count: int) -> Position:
    return Position(log.epoch, max(log.head - count, 0))


def _settle(future: asyncio.Future[bool], error: Exception | None, *, current: bool) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(current)
    else:
        future.set_exception(error)


def _timed(arrivals: Sequence[Arrival], latest: float) -> list[tuple[Arrival, float]]:
    """Returns publications with times on the monotonic clock: ascending, and none after `latest`."""
    offset = time.monotonic() - time.time()
    times: list[float] = []
    for one in reversed(arrivals):
        latest = min(latest, one.at_ms / 1000 + offset)
        times.append(latest)
    return list(zip(arrivals, reversed(times), strict=True))
