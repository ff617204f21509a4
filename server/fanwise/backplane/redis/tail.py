"""The frames of a shard: each is applied once and in order, and what is missing is fetched, or told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ...logs.events import Event, log
from ..counts import Counts
from ..frames import read_frame, read_head
from ..port import Arrival
from .link import Link

_FETCHED_FRAMES: Final = 16  # in one answer: some milliseconds of work


class Tail:
    """Owns the invariant that all frames up to `number` of `generation` were applied, or told to be lost.

    Args:
        live: The key of the shard's stream.
        arrived: Hears the publications of a frame; returns False if no more are wanted for now.
        interrupted: Hears that frames are lost.
        settled: Hears that all frames up to the answer that was read last were applied.
        counts: Counts turns, holes, and frames that were not pushed.

    Attributes:
        generation: Of the shard's data; 0 before the first link.
        number: Of the newest frame that was applied.
        behind: How many frames the engine had more, at the latest check.
    """

    def __init__(
        self,
        live: str,
        *,
        arrived: Callable[[Sequence[Arrival]], bool],
        interrupted: Callable[[], None],
        settled: Callable[[], None],
        counts: Counts,
    ) -> None:
        self.generation = 0
        self.number = 0
        self.behind = 0
        self._live = live
        self._arrived = arrived
        self._interrupted = interrupted
        self._settled = settled
        self._counts = counts
        self._link: Link | None = None  # the one that was verified; frames of others are not for us
        self._fetching = False
        self._known = 0  # the newest frame that the engine is known to have had
        self._at_once = _FETCHED_FRAMES  # fewer where links are lost over answers: the engine bounds them too
        self._deaf = False  # whether the latest check has found frames that were not pushed

    def verified(self, link: Link, generation: int, number: int) -> None:
        """Hears where the shard stands, as the first thing on a link. Frames pushed from now on are applied."""
        self._link = link
        self._fetching = self._deaf = False
        if not self.generation:
            self.generation, self.number = generation, number
        elif generation != self.generation:
            self._turn(generation, number)
        elif number > self.number:
            self._fetch(number)
            return
        self._settled()

    @property
    def settled(self) -> bool:
        """Whether a link is verified, and nothing is known to be missing."""
        return self._link is not None and not self._fetching

    def lost(self) -> None:
        """Hears that the link has gone: what is pushed until the next one is verified will be fetched."""
        self._link = None
        if self._fetching:
            self._at_once = max(1, self._at_once // 4)

    def pushed(self, frame: bytes) -> None:
        """Applies a frame, if it is the next one; fetches what is missing before it."""
        if self._link is None or self._fetching:
            return
        head = read_head(frame)
        if head.generation != self.generation:
            self._link.abort()  # another node has verified a new generation: so do we
        elif head.number == self.number + 1:
            self._apply(head.number, read_frame(frame, head))
        elif head.number > self.number:
            self._fetch(head.number)

    def checked(self, generation: int, number: int) -> None:
        """Compares with what the engine has: here and now, as replies and pushes have one order, it must be ours."""
        if self._link is None or self._fetching:
            return
        if generation != self.generation or number < self.number:
            self._link.abort()
            return
        self.behind = number - self.number
        if not self.behind:
            self._deaf = False
            return
        self._counts.deaf += 1
        log(Event.BACKPLANE_DEAF, frames=self.behind)
        if self._deaf:  # twice on one link: subscribe anew
            self._link.abort()
        else:
            self._deaf = True
            self._fetch(number)

    def _apply(self, number: int, arrivals: Sequence[Arrival]) -> None:
        self.number = number
        if not self._arrived(arrivals) and self._link is not None:
            self._link.pause()

    def _fetch(self, known: int) -> None:
        """Asks for what follows, `known` at least. What is pushed meanwhile is in the answer, or in the next one."""
        link, count = self._link, self._at_once
        assert link is not None
        self._fetching, self._known = True, known
        begin = f"({self.generation}-{self.number}"
        link.send(lambda reply: self._fetched(link, count, reply), "XRANGE", self._live, begin, "+", "COUNT", count)

    def _fetched(self, link: Link, count: int, reply: Any) -> None:
        if link is not self._link or link.lost:
            return
        if isinstance(reply, Exception):
            link.abort()
            return
        for entry, fields in reply:
            generation, number = map(int, entry.split(b"-"))
            if generation != self.generation:
                link.abort()
                return
            arrivals = _read(fields)
            lost = number - 1 if arrivals is not None else number
            if lost > self.number:
                self._hole(lost)
            if arrivals is not None:
                self._apply(number, arrivals)
        self._at_once = min(_FETCHED_FRAMES, 2 * self._at_once)
        if len(reply) == count:
            self._fetch(self._known)
            return
        if self.number < self._known:  # nothing is left of them
            self._hole(self._known)
        self._fetching = False
        self._settled()

    def _hole(self, last: int) -> None:
        self._counts.holes += 1
        log(Event.BACKPLANE_HOLE, frames=last - self.number)
        self.number = last
        self._interrupted()

    def _turn(self, generation: int, number: int) -> None:
        self._counts.turns += 1
        log(Event.BACKPLANE_TURNED)
        self.generation, self.number = generation, number
        self._interrupted()


def _read(fields: Sequence[bytes]) -> list[Arrival] | None:
    """Returns the publications of an entry of the stream; None for one that no server of ours has written."""
    try:
        return read_frame(fields[1], read_head(fields[1]))
    except (ValueError, KeyError, IndexError):
        return None
