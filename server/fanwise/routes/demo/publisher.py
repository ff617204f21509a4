"""The publisher of the demo: texts at fixed times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from .stream import Stream

_LATE_MESSAGES = 3  # that are made up for: a publisher that had to wait does not burst


class Publisher:
    """Publishes at fixed times, one message after the other.

    Args:
        stream: The texts that it publishes.
        publish: Returns when a text was published.
        rate_per_second: Texts per second; may be set while it runs, like `size_bytes`.
        size_bytes: Bytes of each text.
    """

    def __init__(
        self, stream: Stream, publish: Callable[[str], Awaitable[object]], *, rate_per_second: float, size_bytes: int
    ) -> None:
        self.rate_per_second = rate_per_second
        self.size_bytes = size_bytes
        self._stream = stream
        self._publish = publish
        self._began: float | None = None  # beginning of the publication under way (monotonic seconds)

    def publishing_seconds(self) -> float:
        """How long it has been waiting for the end of a publication; 0 when it is not."""
        return 0.0 if self._began is None else monotonic() - self._began

    async def run(self) -> None:
        """Never returns; raises what publishing raises."""
        due = monotonic()
        while True:
            await asyncio.sleep(max(due - monotonic(), 0))  # 0 when it is late: publishing need not give way
            await self._next()
            step_seconds = 1 / self.rate_per_second
            due = max(due + step_seconds, monotonic() - _LATE_MESSAGES * step_seconds)

    async def _next(self) -> None:
        began = self._began = monotonic()
        try:
            await self._publish(self._stream.text(self.size_bytes, began))
        finally:
            self._began = None
        self._stream.published += 1
