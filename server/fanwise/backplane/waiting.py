"""Publications that wait for the engine, bounded in number, in bytes and in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

from ..core.filters import tags_bytes
from ..core.publication import Position
from ..errors import BackplaneDownError, UnconfirmedError
from .counts import Counts
from .port import Outgoing
from .together import Together

WAITING_MESSAGES: Final = 4_096
WAITING_BYTES: Final = 16_777_216
PUBLICATION_BYTES: Final = 512  # what one takes beside its payload, counted against the bound in bytes
FRAME_MESSAGES: Final = 128
FRAME_BYTES: Final = 262_144
_new = cast("Callable[[type[Waiting], tuple[Any, ...]], Waiting]", tuple.__new__)  # calling the class is dearer


class Waiting(NamedTuple):
    """A publication, who waits for its position, until when that is worth it, and its bytes as they are counted."""

    outgoing: Outgoing
    future: asyncio.Future[Position] | Together
    gives_up_at: float
    size: int


class Frame(NamedTuple):
    """Publications that are sent in one piece, under a number: a frame that is sent again keeps its number."""

    number: int
    waiting: list[Waiting]


class WaitingRoom:
    """Owns the invariants that one frame is in flight, and that what waits is bounded.

    Args:
        loop: The event loop.
        publish_seconds: How long a publication may wait for its position.
        counts: Counts how long that takes, and what fails.

    Attributes:
        frame: The frame in flight; None while there is none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, publish_seconds: float, counts: Counts) -> None:
        self.frame: Frame | None = None
        self._counts = counts
        self._loop = loop
        self._publish_seconds = publish_seconds
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0  # of what waits and of what is in flight
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, outgoing: Outgoing, together: Together | None = None) -> asyncio.Future[Position]:
        """Takes in a publication; the future raises BackplaneDownError at once if there is no room. O(1)."""
        answers = together or self._loop.create_future()
        size = _size(outgoing)
        if len(self._waiting) >= WAITING_MESSAGES or self._bytes + size > WAITING_BYTES:
            if not answers.done():
                self._counts.refused += _left(answers)
                answers.set_exception(BackplaneDownError(f"{len(self._waiting)} publications wait for it already"))
        else:
            self._bytes += size
            self._waiting.append(_new(Waiting, (outgoing, answers, self._loop.time() + self._publish_seconds, size)))
        return answers.future if isinstance(answers, Together) else answers

    def next_frame(self) -> Frame | None:
        """Returns a new frame, which is in flight from now on; None if nothing waits. O(the frame)."""
        taken: list[Waiting] = []
        size = 0
        while self._waiting and len(taken) < FRAME_MESSAGES and size < FRAME_BYTES:
            waiting = self._waiting.popleft()
            if waiting.future.done():  # given up, or cancelled, before it was sent
                self._bytes -= waiting.size
            else:
                taken.append(waiting)
                size += len(waiting.outgoing.payload)
        if not taken:
            return None
        self._numbers += 1
        self.frame = Frame(self._numbers, taken)
        return self.frame

    def settle(self, outcome: Sequence[Position | Exception] | Exception) -> None:
        """Ends the frame in flight: with a position or an error for each of its publications, or an error for all."""
        assert self.frame is not None
        waiting, self.frame = self.frame.waiting, None
        if not isinstance(outcome, Exception):
            self.time(waiting)
        self._bytes -= sum([one.size for one in waiting])
        for place, one in enumerate(waiting):
            self.answer(one, outcome if isinstance(outcome, Exception) else outcome[place])

    def end_frame(self) -> None:
        """Ends the frame in flight, of which each publication was answered, or given up."""
        assert self.frame is not None
        self._bytes -= sum([one.size for one in self.frame.waiting])
        self.frame = None

    def time(self, waiting: Sequence[Waiting]) -> None:
        """Notes how long publications have waited that the engine has taken together."""
        seconds = self._loop.time() - waiting[0].gives_up_at + self._publish_seconds
        self._counts.publish.observe(seconds, len(waiting))

    def answer(self, waiting: Waiting, found: Position | Exception) -> None:
        """Gives a publication its position, or an error, unless it was given up."""
        if waiting.future.done():
            return
        if isinstance(found, Exception):
            self._counts.refused += isinstance(found, BackplaneDownError) and _left(waiting.future)
            self._counts.unconfirmed += isinstance(found, UnconfirmedError) and _left(waiting.future)
            waiting.future.set_exception(found)
        else:
            self._counts.published += 1
            waiting.future.set_result(found)

    def give_up(self, why: str) -> None:
        """Fails what has waited for too long. To be called a few times a second: there is no timer for each."""
        now = self._loop.time()
        while self._waiting and (self._waiting[0].gives_up_at <= now or self._waiting[0].future.done()):
            self._fail(self._waiting.popleft(), BackplaneDownError(why))
        if self.frame is not None:
            for waiting in self.frame.waiting:
                if waiting.gives_up_at <= now:
                    self.answer(waiting, UnconfirmedError(why))

    def drop_given_up(self) -> None:
        """Forgets a frame in flight for which nobody waits any more, so that it is not sent again."""
        if self.frame is not None and all(one.future.done() for one in self.frame.waiting):
            self.end_frame()

    def shut(self) -> None:
        """Fails everything."""
        if self.frame is not None:
            self.settle(UnconfirmedError("the server stops"))
        while self._waiting:
            self._fail(self._waiting.popleft(), BackplaneDownError("the server stops"))

    def _fail(self, waiting: Waiting, error: Exception) -> None:
        self._bytes -= waiting.size
        self.answer(waiting, error)


def _size(outgoing: Outgoing) -> int:
    tags = 0 if outgoing.tags is None else tags_bytes(outgoing.tags)
    return len(outgoing.payload) + PUBLICATION_BYTES + tags


def _left(answers: asyncio.Future[Position] | Together) -> int:
    """Returns how many publications wait for an answer, all of which have the same error."""
    return answers.left if isinstance(answers, Together) else 1
