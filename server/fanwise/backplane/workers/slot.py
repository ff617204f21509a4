"""The place of one worker: its listener, and the worker that is in it."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from .member import Order
from .worker import Worker

BACKLOG: Final = 2_048
DEATHS: Final = 5
DEATH_SECONDS: Final = 30.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0

StartWorker: TypeAlias = Callable[[int, socket.socket], Worker]
"""Starts a worker from its number and the socket that it accepts from."""


class Deaths:
    """Counts how often a process has died lately.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=DEATHS)

    def count(self) -> float | None:
        """Counts one more; returns for how many seconds to wait before the next start, and None if it is too many."""
        now = self._clock()
        while self._times and now - self._times[0] > DEATH_SECONDS:
            self._times.popleft()
        self._times.append(now)
        if len(self._times) == DEATHS:
            return None
        return float(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (len(self._times) - 1)))


class Slot:
    """Owns the invariant that a listener is open only while somebody accepts from it, or is about to.

    Connections would wait in a listener that nobody accepts from: the kernel gives each listener its share.

    Args:
        index: The number of its workers, from 1 on.
        open_listener: Makes a bound socket.
        start_worker: Starts a worker.
        clock: Seconds.

    Attributes:
        index: The number of its workers.
        deaths: How often workers died here.
        worker: The worker that accepts, or will; None before the first, and while one that died is not replaced.
        workers: All whose process has not ended: one, or two while one takes the place of the other.
        taken: Held while a worker is started or replaced.
        resting: Whether new connections are kept away, as the worker gives no sign of life.
    """

    def __init__(
        self,
        index: int,
        *,
        open_listener: Callable[[], socket.socket],
        start_worker: StartWorker,
        clock: Callable[[], float],
    ) -> None:
        self._open_listener = open_listener
        self._start_worker = start_worker
        self._listener: socket.socket | None = None
        self.index = index
        self.deaths = Deaths(clock)
        self.worker: Worker | None = None
        self.workers: set[Worker] = set()
        self.taken = asyncio.Lock()
        self.resting = False

    @property
    def serves(self) -> bool:
        """Whether a worker is here that accepts connections."""
        return self.worker is not None and self.worker.ready and not self.resting

    def start(self) -> Worker:
        """Starts a worker with a listener of its own. Raises OSError."""
        self._listener = self._open_listener()
        self.worker = self._start()
        return self.worker

    def _start(self) -> Worker:
        assert self._listener is not None
        worker = self._start_worker(self.index, self._listener)
        self.workers.add(worker)
        worker.ended.add_done_callback(lambda _: self.workers.discard(worker))
        return worker

    def free(self) -> None:
        """Closes the listener: what waits there is reset, and comes back to other workers."""
        self.worker, self.resting = None, False
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def replace(self, *, within_seconds: float) -> bool:
        """Starts another worker, and when it accepts, has the present one leave; returns False if it does not.

        Raises:
            OSError: No process can be started.
        """
        async with self.taken:
            before = self.worker
            if before is None:  # it has died, and is started again by itself
                return True
            after = self._start()
            if not await after.started():
                return False
            self.worker = after
            self.rest(resting=False)
        await before.leave(Order.HAND_OVER, within_seconds=within_seconds)
        return True

    def rest(self, *, resting: bool) -> None:
        """Keeps new connections away from the worker, or does so no more."""
        if self._listener is None or resting == self.resting:
            return
        self.resting = resting
        with suppress(OSError):
            if resting:
                self._listener.shutdown(socket.SHUT_RDWR)  # the kernel takes it out of those that share the port
            else:
                self._listener.listen(BACKLOG)
