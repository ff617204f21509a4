"""Expiries: clients whose user, or whose time to say who they are, has an end are closed then."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import MutableMapping
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

from ..core.reasons import CloseReason
from .client import Client

TURN_SECONDS: Final = 0.001  # for which clients are closed in one turn of the loop
_PER_SECOND: Final = 2  # moments: a client is closed half a second late at most
_LOOK_SECONDS: Final = 60.0  # to the next look at most
_FEW: Final = 64  # moments that are not worth a thought

Bucket: TypeAlias = dict[Client, CloseReason]


class Expiries:
    """Owns the invariant that an open client ends within half a second of its time, in turns of 1 ms of the loop.

    Args:
        expiring: {client: the clients that end with it}. Whoever closes the books on a client takes it out of both.
    """

    def __init__(self, expiring: MutableMapping[Client, Bucket]) -> None:
        self._expiring = expiring
        self._buckets: dict[int, Bucket] = {}  # {moment: the clients that end then, and why}
        self._moments: list[int] = []  # a heap of them
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        self._looks_at = math.inf  # when the timer calls, on the loop's clock

    def set(self, client: Client, unix_seconds: float | None, reason: CloseReason = CloseReason.EXPIRED) -> None:
        """Has `client` closed at a time, in place of the time before; None: at none. O(1), or O(log times).

        Args:
            client: The client. Nothing happens to one that is closed.
            unix_seconds: Seconds since 1970.
            reason: Why it is closed then.
        """
        before = self._expiring.pop(client, None)
        if before is not None:
            before.pop(client, None)
        if unix_seconds is None or client.reason is not None:
            return
        loop = self._begin()
        at = loop.time() + min(max(0.0, unix_seconds - time.time()), 1e9)
        moment = math.ceil(at * _PER_SECOND)
        bucket = self._buckets.get(moment)
        if bucket is None:
            bucket = self._buckets[moment] = {}
            heappush(self._moments, moment)
        bucket[client] = reason
        self._expiring[client] = bucket
        self._look_by(loop, moment / _PER_SECOND)

    def _begin(self) -> asyncio.AbstractEventLoop:
        """Returns the running loop; forgets what belonged to another one, and moments without clients."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._timer, self._looks_at = loop, None, math.inf
            self._buckets.clear()
            self._moments.clear()
        elif len(self._moments) > 2 * len(self._expiring) + _FEW:
            self._buckets = {moment: bucket for moment, bucket in self._buckets.items() if bucket}
            self._moments = list(self._buckets)
            heapify(self._moments)
        return loop

    def _look_by(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        at = min(at, loop.time() + _LOOK_SECONDS)
        if at < self._looks_at:
            if self._timer is not None:
                self._timer.cancel()
            self._looks_at = at
            self._timer = loop.call_at(at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Closes clients whose time has come, for a turn; looks again for the others."""
        self._timer, self._looks_at = None, math.inf
        now, ends_at = loop.time() * _PER_SECOND, time.monotonic() + TURN_SECONDS
        while self._moments and self._moments[0] <= now:
            bucket = self._buckets[self._moments[0]]
            while bucket:
                client, reason = bucket.popitem()
                self._expiring.pop(client, None)
                client.close(reason)
                if time.monotonic() >= ends_at:
                    self._timer, self._looks_at = loop.call_soon(self._look, loop), loop.time()
                    return
            del self._buckets[heappop(self._moments)]
        if self._expiring:
            self._look_by(loop, self._moments[0] / _PER_SECOND)
        else:  # also when the node has stopped: nothing leads back to it
            self._buckets.clear()
            self._moments.clear()
