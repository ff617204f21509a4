"""The publishers of the demo: one pace sets the times, and each side publishes what is due."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from .stream import Stamp, Stream

_LATE_MESSAGES = 3  # that are made up for: a pace that was held up does not burst


class Publisher:
    """Publishes the messages of one side in their order, one after the other.

    Args:
        stream: The messages.
        publish: Returns when a text was published.
        size_bytes: Bytes of each text.

    Attributes:
        published: Messages that were published.
    """

    def __init__(self, stream: Stream, publish: Callable[[str], Awaitable[object]], *, size_bytes: int) -> None:
        self.published = 0
        self._stream = stream
        self._publish = publish
        self._size_bytes = size_bytes
        self._due: deque[Stamp] = deque()  # texts are made when their turn comes: a stamp takes 100 bytes
        self._news = asyncio.Event()
        self._began: float | None = None  # beginning of the publication under way (monotonic seconds)

    @property
    def waiting(self) -> int:
        """The number of messages that are due, and wait for the one before them."""
        return len(self._due)

    def publishing_seconds(self) -> float:
        """How long it has been waiting for the end of a publication; 0 when it is not."""
        return 0.0 if self._began is None else monotonic() - self._began

    def offer(self, stamp: Stamp) -> None:
        """A message is due."""
        self._due.append(stamp)
        self._news.set()

    async def run(self) -> None:
        """Never returns; raises what publishing raises."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._due:
                await self._next(self._due.popleft())
                if self._due:
                    await asyncio.sleep(0)  # publishing need not give way

    async def _next(self, stamp: Stamp) -> None:
        self._began = monotonic()
        try:
            await self._publish(self._stream.text(stamp, self._size_bytes))
        finally:
            self._began = None
        self.published += 1


async def keep_pace(stream: Stream, publishers: Sequence[Publisher], *, rate_per_second: float) -> None:
    """Offers each message to all publishers at its time. Never returns."""
    due, step_seconds = monotonic(), 1 / rate_per_second
    while True:
        await asyncio.sleep(max(due - monotonic(), 0))
        stamp = stream.stamp(monotonic())
        for publisher in publishers:
            publisher.offer(stamp)
        due = max(due + step_seconds, monotonic() - _LATE_MESSAGES * step_seconds)
