"""A fair share of the loop: connections with more to parse than one turn allows take turns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

# Half a millisecond where the WebSocket library parses them, and more than a publisher has in flight: what a publisher
# sends in one go is swept in one go.
FRAMES_A_TURN: Final = 128
REQUEST_FRAMES: Final = 64  # an HTTP request, or a handshake, takes the time of so many
LEAST_FRAMES: Final = 8  # of one connection; fewer cost more in calls than in parsing
MANY_FRAMES: Final = 64  # of one read; fewer do not count
FRAME_BYTES: Final = 4_096  # of a large read that take the time of one frame: unmasked, checked and published
LARGE_BYTES: Final = 8_192  # a read with more is large


class FairShare:
    """Owns the invariant that one turn of the loop parses about `FRAMES_A_TURN` of the frames that wait.

    A connection parses `frames` of what it has read at once, and waits here with the rest, its reading paused. A round
    over N connections takes max(1, N / 16) turns of at most 128 frames: the smallest frames of 100 connections that
    flood delay another one by less than 5 ms. Two HTTP requests begin in a turn, on however many connections. Large
    reads, and large frames in a connection's turn, count by their bytes: half a megabyte a turn.

    A turn begins anew only when it is used up: books of an idle loop cost nothing. Work beyond a turn is subtracted
    from the next.

    Attributes:
        frames: How many a connection may parse before it waits for its next turn.
    """

    __slots__ = ("_left", "_loop", "_scheduled", "_waiting", "frames")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Callable[[], object], int]] = deque()
        self._left = FRAMES_A_TURN  # of this turn's, for those that do not wait
        self._scheduled = False
        self.frames = FRAMES_A_TURN

    def take(self, frames: int) -> bool:
        """Returns whether `frames` may be parsed in this turn; False: the caller has to wait for its turn."""
        if self._waiting or self._left <= 0:
            return False
        self.spend(frames)
        return True

    def take_read(self, size: int) -> bool:
        """Returns whether a large read of `size` bytes may be parsed in this turn."""
        if self._left <= 0:
            return False
        self.spend(size // FRAME_BYTES)
        return True

    def spend(self, frames: int) -> None:
        """Subtracts frames that were parsed, outside of the caller's turn, from what others may parse in this one."""
        self._left -= frames
        if self._left <= 0:
            self.frames = LEAST_FRAMES
            self._schedule()

    def wait(self, go_on: Callable[[], object], *, frames: int = 0) -> None:
        """Calls `go_on` once, when it is the caller's turn; it takes `frames`, by default its share."""
        self._waiting.append((go_on, frames))
        self.frames = min(self.frames, self._fair())
        self._schedule()

    def wait_with_read(self, go_on: Callable[[], object], size: int, *, frames: int = LEAST_FRAMES) -> None:
        """Calls `go_on` in the turn of a connection that has read `size` bytes and not parsed them.

        The read counts, too: as many connections go on reading in a turn as may read half a megabyte.

        Args:
            go_on: Called once.
            size: Of the read.
            frames: The least that `go_on` takes.
        """
        self.wait(go_on, frames=max(frames, size // FRAME_BYTES))

    def _fair(self) -> int:
        return max(LEAST_FRAMES, FRAMES_A_TURN // max(1, len(self._waiting)))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._left = min(self._left, 0) + FRAMES_A_TURN
        # Holds for all that are called now, although they do not wait any more.
        self.frames = self._fair() if self._left > 0 else LEAST_FRAMES
        for _ in range(len(self._waiting)):
            if self._left <= 0:
                break
            go_on, frames = self._waiting.popleft()
            self._left -= frames or self.frames
            self._call(go_on)
        if self._waiting or self._left < FRAMES_A_TURN:
            self._schedule()

    def _call(self, go_on: Callable[[], object]) -> None:
        """Calls a connection. An error of one is not the others': the loop's handler gets it."""
        try:
            go_on()
        except Exception as error:  # noqa: BLE001 - as the loop does with an error of a callback
            self._loop.call_exception_handler({"message": "a connection's turn has failed", "exception": error})


_SHARES: WeakKeyDictionary[asyncio.AbstractEventLoop, FairShare] = WeakKeyDictionary()


def fair_share(loop: asyncio.AbstractEventLoop) -> FairShare:
    """Returns the share of `loop`, one for all its connections."""
    return _SHARES.get(loop) or _SHARES.setdefault(loop, FairShare(loop))
