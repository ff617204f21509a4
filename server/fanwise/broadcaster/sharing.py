"""A node behind a backplane: publications that arrive go into its logs, and channels are opened where the engine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ..backplane.port import Arrival, Backplane, Opened, Outgoing
from ..core.channel import Channel
from ..core.hub import Hub
from ..core.log import Entry, Log
from ..core.publication import Kind, Position, Publication, check_channel_name
from ..errors import FanwiseError
from .publisher import Publisher
from .successors import Successors

_TURN_SECONDS: Final = 0.002  # of a turn of the loop, for what arrives


class Sharing:
    """A `port.Listener`. Owns the invariant that each log is a part of the engine's: no hole, and nothing else in it.

    Args:
        backplane: The node's connection to the engine.
        hub: The channels.
        publisher: Sweeps what arrives.
        successors: Moves clients when a log ends.

    Attributes:
        published: Publications that the engine has acknowledged.
    """

    def __init__(self, backplane: Backplane, hub: Hub, publisher: Publisher, successors: Successors) -> None:
        self.published = 0
        self._backplane = backplane
        self._hub = hub
        self._publisher = publisher
        self._successors = successors
        self._opening: dict[str, list[asyncio.Future[None]]] = {}  # {channel: who waits for the answer}
        self._reopening: set[str] = set()  # after an interruption: the answer has what arrives meanwhile
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

    async def publish(self, channel: str, kind: Kind, data: bytes, key: str | None) -> Publication:
        """Publishes through the engine: returns when the engine has it.

        Raises:
            BackplaneDownError: Nothing was published.
            ChannelNameError: The channel's name is not allowed.
            MessageTooBigError: The payload is above the limit.
            UnconfirmedError: Perhaps it was published.
        """
        self._publisher.check_size(data)
        position = await self._backplane.publish(Outgoing(check_channel_name(channel), data, kind, key))
        self.published += 1
        return Publication(channel, *position, data, kind, time.monotonic(), key)

    # Channels.

    async def ready(self, name: str, since: Position | None) -> None:
        """Waits until the channel is open here, with what came after `since` as far as the engine has it.

        The channel is open, and stays so, until the caller awaits something.

        Raises:
            BackplaneDownError: The engine did not answer in time.
            ChannelLimitError: There is no room for another channel.
            ChannelNameError: The channel's name is not allowed.
        """
        check_channel_name(name)
        asked = False
        while True:
            channel = self._hub.find(name)
            if channel is not None and name not in self._reopening and (asked or _covers(channel.log, since)):
                return
            if channel is not None and since is not None and since.epoch == channel.log.epoch:
                since = Position(since.epoch, min(since.offset, channel.log.head))  # or a hole would be left
            asked = await self._ask(name, since) or asked

    def is_open(self, name: str) -> bool:
        """Whether the channel is open here, and nothing of it is missing."""
        return self._hub.find(name) is not None and name not in self._reopening

    async def _ask(self, name: str, since: Position | None) -> bool:
        """Waits for an answer to anybody's question; returns whether it was ours.

        Those who want no history share one question.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        waiting = self._opening.setdefault(name, [])
        waiting.append(future)
        asks = name not in self._reopening and (since is not None or len(waiting) == 1)
        if asks:
            self._backplane.open(name, since, partial(self._opened, name))
        await future
        return asks

    def _opened(self, name: str, opened: Opened | Exception) -> None:
        self._answered(name, opened)
        if name not in self._reopening:
            error = opened if isinstance(opened, Exception) else None
            self._wake(name, error, list(self._opening.get(name, ())))

    def _wake(self, name: str, error: Exception | None, futures: Sequence[asyncio.Future[None]]) -> None:
        waiting = self._opening.get(name, [])
        for future in futures:
            if future in waiting:
                waiting.remove(future)
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        if not waiting:
            self._opening.pop(name, None)

    def _answered(self, name: str, opened: Opened | Exception) -> None:
        """Takes over what the engine has said."""
        if isinstance(opened, Exception):
            return
        channel = self._hub.find(name)
        try:
            if channel is None:
                self._adopt(name, opened)
            else:
                self._catch_up(channel, opened)
        except FanwiseError as error:  # there is no room for another channel
            self._wake(name, error, list(self._opening.get(name, ())))

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
            log.prepend([Entry(one.payload, one.kind, at, one.key) for one, at in _timed(older, latest)])
        self._append(channel, [one for one in publications if one.offset > channel.log.head])

    def _append(self, channel: Channel, publications: Sequence[Arrival]) -> None:
        earliest = channel.log.time_at(channel.log.head) if len(channel.log) else 0.0
        for one, at in _timed(publications, time.monotonic()):
            self._publisher.take(channel, one.payload, kind=one.kind, time=max(at, earliest), key=one.key)

    def _succeed(self, channel: Channel, epoch: str, start: int) -> Channel:
        self._publisher.flush(channel)
        successor = self._hub.succeed(channel, epoch=epoch, start=start, time=time.monotonic())
        if channel.queues:
            self._successors.succeeded(channel)
        return successor

    # What the backplane calls (`port.Listener`).

    def arrived(self, arrivals: Sequence[Arrival]) -> bool:
        """Appends to the logs of the channels that are open here. False: the sweeps, or others, need a turn first."""
        find, reopening, take = self._hub.find, self._reopening, self._publisher.take
        now = time.monotonic()
        crowded = False
        for name, epoch, offset, payload, kind, key, _ in arrivals:
            channel = find(name)
            if channel is None or (reopening and name in reopening):
                continue
            log = channel.log
            if epoch != log.epoch or offset > log.head + 1:
                channel = self._succeed(channel, epoch, offset - 1)
            elif offset <= log.head:
                continue
            crowded = take(channel, payload, kind=kind, time=now, key=key) or crowded
        return self._has_time(now) and not crowded

    def interrupted(self, concerns: Callable[[str], bool]) -> None:
        """Opens the channels anew, after the heads of their logs."""
        for channel in self._hub:
            if concerns(channel.name) and channel.name not in self._reopening:
                self._reopening.add(channel.name)
                self._reopen(channel.name)

    def _reopen(self, name: str) -> None:
        channel = self._hub.find(name)
        if channel is None:  # it was forgotten meanwhile
            self._reopened(name, None)
        else:
            since = Position(channel.log.epoch, channel.log.head)
            self._backplane.open(name, since, partial(self._reopened, name))

    def _reopened(self, name: str, opened: Opened | Exception | None) -> None:
        if isinstance(opened, Exception) and not self._ended:
            self._wake(name, opened, list(self._opening.get(name, ())))
            self._loop.call_soon(self._reopen, name)  # clients are on it, and wait
            return
        self._reopening.discard(name)
        if opened is not None:
            self._answered(name, opened)
        self._wake(name, None, list(self._opening.get(name, ())))

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


def _covers(log: Log, since: Position | None) -> bool:
    """Whether a log has, or never had, what came after a position."""
    return since is None or (since.epoch == log.epoch and log.first - 1 <= since.offset <= log.head)


def _timed(arrivals: Sequence[Arrival], latest: float) -> list[tuple[Arrival, float]]:
    """Returns publications with times on the monotonic clock: ascending, and none after `latest`."""
    offset = time.monotonic() - time.time()
    times: list[float] = []
    for one in reversed(arrivals):
        latest = min(latest, one.at_ms / 1000 + offset)
        times.append(latest)
    return list(zip(arrivals, reversed(times), strict=True))
