"""The flight: publications of one connection wait for the engine together, and are answered in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeAlias

from ..core.publication import Position
from ..errors import FanwiseError

# Of one connection, so that it is not held to one publication per round trip. All connections share what may wait for
# the engine (`backplane.waiting`).
IN_FLIGHT: Final = 64
IN_FLIGHT_BYTES: Final = 262_144

Answer: TypeAlias = Callable[["Position | FanwiseError"], None]
"""Hears what became of a publication."""


class _Flying(NamedTuple):
    outcome: asyncio.Future[Position] | FanwiseError
    size: int
    answer: Answer
    publications: int


class Flight:
    """Publications of one connection that wait for the engine. Owns the invariant that answers come in their order.

    Args:
        failed: Called with what an answer raises.
    """

    __slots__ = ("_bytes", "_count", "_failed", "_flying", "_waiter")

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._flying: deque[_Flying] = deque()
        self._bytes = self._count = 0
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return self._count

    def has_room(self, count: int, size: int) -> bool:
        """Whether so many publications of so many bytes fit in together."""
        return self._count + count <= IN_FLIGHT and self._bytes + size <= IN_FLIGHT_BYTES

    def add(
        self, outcome: asyncio.Future[Position] | FanwiseError, size: int, answer: Answer
    ) -> Coroutine[Any, Any, None] | None:
        """Takes in a publication; returns what to await before the next one, if anything.

        Args:
            outcome: Its position to come, or why it was not handed in.
            size: Its bytes.
            answer: Called with the position or the error, after the answers before.
        """
        self._add(_Flying(outcome, size, answer, 1))
        if isinstance(outcome, asyncio.Future):
            outcome.add_done_callback(self._land)
        if self._count < IN_FLIGHT and self._bytes < IN_FLIGHT_BYTES:
            return None
        return self.landed(IN_FLIGHT // 2)

    def add_all(self, outcome: asyncio.Future[Position], size: int, answer: Answer, *, count: int) -> None:
        """Takes in several publications with one outcome and one answer, for which there is room."""
        self._add(_Flying(outcome, size, answer, count))
        outcome.add_done_callback(self._land)

    def _add(self, flying: _Flying) -> None:
        self._flying.append(flying)
        self._bytes += flying.size
        self._count += flying.publications

    async def landed(self, most: int = 0) -> None:
        """Waits until at most `most` publications, and half of their bytes, are in flight."""
        while self._count > most or self._bytes > IN_FLIGHT_BYTES // 2:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _land(self, _: asyncio.Future[Position]) -> None:
        """Answers what has an outcome, as far as all before it have one."""
        while self._flying:
            outcome, size, answer, publications = self._flying[0]
            if isinstance(outcome, asyncio.Future) and not outcome.done():
                break
            self._flying.popleft()
            self._bytes -= size
            self._count -= publications
            try:
                answer(_result(outcome))
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection only
                self._failed(error)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _result(outcome: asyncio.Future[Position] | FanwiseError) -> Position | FanwiseError:
    if isinstance(outcome, FanwiseError):
        return outcome
    error = outcome.exception()
    if error is None or isinstance(error, FanwiseError):
        return outcome.result() if error is None else error
    raise error
