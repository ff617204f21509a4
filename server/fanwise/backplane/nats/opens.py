"""Channels that wait to hear where they stand."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from ...core.publication import Position
from ...errors import BackplaneDownError
from ..options import Options
from ..port import ONLY_LOOK, Arrival, Done, Opened
from .link import LinkError
from .messages import Message
from .reader import Reader
from .tail import Tail

_AT_ONCE: Final = 16  # questions on their way
_WAITING: Final = 1_000_000  # channels of interruptions come at once; strangers' handshakes are bounded before
REPLY_SECONDS: Final = 2.0  # a question to a leader that has gone is never answered
_ATTEMPTS: Final = 8  # at beginning an epoch, while others do


class _Open(NamedTuple):
    channel: str
    since: Position | None
    done: Done
    gives_up_at: float


class _Watch:
    """What comes in a channel while a question about it is on its way."""

    def __init__(self, count: int) -> None:
        self.messages: deque[Message] = deque(maxlen=count)


class Opens:
    """Owns the invariant that an answer holds at its place between the arrivals, and that everybody is answered.

    Args:
        options: Bounds of histories.
        tail: What was heard of the stream.
        fail: Gives the link up, for a reason.
    """

    def __init__(self, options: Options, tail: Tail, *, fail: Callable[[str], None]) -> None:
        self._options = options
        self._tail = tail
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._reader: Reader | None = None
        self._ahead_ms = 0
        self._waiting: deque[_Open] = deque()
        self._tasks: dict[asyncio.Task[None], _Open] = {}
        self._watches: dict[str, list[_Watch]] = {}
        self._places: list[tuple[int, asyncio.Future[None]]] = []  # who waits for the tail

    def __len__(self) -> int:
        return len(self._waiting) + len(self._tasks)

    def enter(self, channel: str, since: Position | None, done: Done) -> None:
        """Takes in a question, and asks it if few are on their way."""
        if len(self._waiting) >= _WAITING:
            done(BackplaneDownError(f"{_WAITING} channels wait for it already"))
            return
        self._waiting.append(_Open(channel, since, done, self._loop.time() + self._options.publish_seconds))
        self._go_on()

    def up(self, reader: Reader, ahead_ms: int) -> None:
        """Asks on a new link; the clock of this machine is ahead of the engine's."""
        self._reader, self._ahead_ms = reader, ahead_ms
        self._go_on()

    def down(self) -> None:
        """Hears that the link has gone: what is on its way is asked again on the next one."""
        self._reader = None
        for _, future in self._places:
            if not future.done():
                future.set_exception(LinkError("the link was lost"))
        self._places = []

    def heard(self, message: Message) -> None:
        """Hears a message of the stream."""
        for watch in self._watches.get(message.channel, ()):
            watch.messages.append(message)
        if self._places:
            number = message.head.sequence
            for sequence, future in self._places:
                if sequence <= number and not future.done():
                    future.set_result(None)
            self._places = [one for one in self._places if not one[1].done()]

    def give_up(self, now: float, why: str) -> None:
        """Answers those who have waited for too long."""
        while self._waiting and self._waiting[0].gives_up_at <= now:
            self._waiting.popleft().done(BackplaneDownError(why))

    async def shut(self) -> None:
        """Answers all."""
        self.down()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        while self._waiting:
            self._waiting.popleft().done(BackplaneDownError("the server stops"))

    def _go_on(self) -> None:
        while self._reader is not None and self._waiting and len(self._tasks) < _AT_ONCE:
            one = self._waiting.popleft()
            task = self._loop.create_task(self._answer(self._reader, one), name=f"fanwise open {one.channel}")
            self._tasks[task] = one
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        one = self._tasks.pop(task)
        if task.cancelled() or task.exception() is not None:
            self._waiting.appendleft(one)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self._fail(str(error) or "questions are not answered")
        self._go_on()

    async def _answer(self, reader: Reader, one: _Open) -> None:
        watch = _Watch(max(1, self._options.history(one.channel).messages))
        watches = self._watches.setdefault(one.channel, [])
        watches.append(watch)
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                last = await self._last(reader, one.channel, begins=one.since is not ONLY_LOOK)
                if last is None:
                    one.done(Opened("", 0, []))
                    return
                arrivals: list[Arrival] = []
                if one.since is not None and one.since is not ONLY_LOOK:
                    arrivals = await self._history(reader, last, one.since)
            if self._tail.number < last.head.sequence:
                future: asyncio.Future[None] = self._loop.create_future()
                self._places.append((last.head.sequence, future))
                await future
        finally:
            watches.remove(watch)
            if not watches:
                self._watches.pop(one.channel, None)
        with_history = one.since is not None and one.since is not ONLY_LOOK
        one.done(self._opened(last, arrivals, watch, with_history=with_history))

    async def _last(self, reader: Reader, channel: str, *, begins: bool) -> Message | None:
        for _ in range(_ATTEMPTS):
            last = await reader.last(channel)
            if last is None and begins:
                last = await reader.begin(channel)
            if last is not None or not begins:
                return last
        raise LinkError(f"channel {channel} begins anew all the time")

    async def _history(self, reader: Reader, last: Message, since: Position) -> list[Arrival]:
        history = self._options.history(last.channel)
        wanted = since.offset + 1 if since.epoch == last.head.epoch else 1
        if wanted > last.head.offset or not history.messages:
            return []
        least_size = max(0, last.head.size - history.bytes)
        arrivals = await reader.before(last, wanted, least_size=least_size, count=history.messages)
        oldest_ms = (time.time() - history.seconds) * 1000 - self._ahead_ms
        return [one for one in arrivals if one.at_ms >= oldest_ms]

    def _opened(self, last: Message, arrivals: list[Arrival], watch: _Watch, *, with_history: bool) -> Opened:
        """Returns where the channel stands now: `last`, and what came behind it."""
        head = last.head
        for message in watch.messages:
            if message.head.sequence > last.head.sequence:
                head = message.head
                arrivals = [*arrivals, *message.arrivals]
        if not with_history:
            return Opened(head.epoch, head.offset, [])
        kept: deque[Arrival] = deque()
        for one in reversed(arrivals):
            if one.epoch != head.epoch or one.offset != head.offset - len(kept):
                break
            kept.appendleft(one._replace(at_ms=one.at_ms + self._ahead_ms))  # ages are looked at here
        return Opened(head.epoch, head.offset, list(kept))
