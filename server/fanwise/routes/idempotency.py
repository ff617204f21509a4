"""Idempotency keys: a request that is sent again gets the first answer again, and publishes nothing.

The header is that of the IETF draft "The Idempotency-Key HTTP Header Field".
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any, NamedTuple

from ..errors import FanwiseError


class IdempotencyError(FanwiseError, ValueError):
    """The key was used for another request."""

    def __str__(self) -> str:
        return "this Idempotency-Key was used for another request: take a new one for each"


class _Entry(NamedTuple):
    digest: bytes  # of the request
    since: float
    answer: asyncio.Future[bytes]


class Idempotency:
    """Remembers answers by their keys, for `seconds`, but not more than fit: then the oldest go earlier.

    Args:
        seconds: How long an answer is remembered.
        max_answers: How many.
        max_bytes: How many bytes of answers.
    """

    def __init__(self, *, seconds: float = 300.0, max_answers: int = 65_536, max_bytes: int = 16_777_216) -> None:
        self._seconds = seconds
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._bytes = 0  # of the answers that are here
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # {key: entry}, the oldest first

    def __len__(self) -> int:
        return len(self._entries)

    async def once(self, key: str, request: bytes, act: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """What `act` returned for this key and request, now or before; waits if it is being done at this moment.

        A request that failed was not done, and may be sent again.

        Raises:
            IdempotencyError: `request` is another than that of the key.
        """
        loop = asyncio.get_running_loop()
        self._forget(loop.time() - self._seconds)
        digest = blake2b(request, digest_size=16).digest()
        entry = self._entries.get(key)
        if entry is not None:
            if entry.digest != digest:
                raise IdempotencyError
            return await asyncio.shield(entry.answer)
        answer = asyncio.ensure_future(act())  # a task of its own: it is done also if this request is cancelled
        self._entries[key] = _Entry(digest, loop.time(), answer)
        answer.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(answer)

    def _done(self, key: str, answer: asyncio.Future[bytes]) -> None:
        entry = self._entries.get(key)
        if entry is None or entry.answer is not answer:
            return
        if answer.cancelled() or answer.exception() is not None:
            del self._entries[key]
            return
        self._bytes += len(answer.result())
        self._forget(-math.inf)

    def _forget(self, before: float) -> None:
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.since > before and len(self._entries) <= self._max_answers and self._bytes <= self._max_bytes:
                return
            del self._entries[key]
            if entry.answer.done():
                self._bytes -= len(entry.answer.result())
