"""Idempotency keys: a request that is sent again gets the first answer again, and publishes nothing.

The header is that of the IETF draft "The Idempotency-Key HTTP Header Field".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any, Generic, NamedTuple, TypeVar

from .errors import FanwiseError

Answer = TypeVar("Answer")


class IdempotencyError(FanwiseError, ValueError):
    """The key was used for another request."""

    def __str__(self) -> str:
        return "this Idempotency-Key was used for another request: take a new one for each"


class _Entry(NamedTuple, Generic[Answer]):
    digest: bytes  # of the request
    since: float
    answer: asyncio.Future[Answer]


class Idempotency(Generic[Answer]):
    """Remembers answers by their keys, for `seconds`, and `max_answers` at most: then the oldest go earlier.

    Args:
        seconds: How long an answer is remembered.
        max_answers: How many.
    """

    def __init__(self, *, seconds: float = 300.0, max_answers: int = 65_536) -> None:
        self._seconds = seconds
        self._max_answers = max_answers
        self._entries: dict[str, _Entry[Answer]] = {}  # {key: entry}, the oldest first

    def __len__(self) -> int:
        return len(self._entries)

    async def once(self, key: str, request: bytes, act: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
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

    def _done(self, key: str, answer: asyncio.Future[Answer]) -> None:
        entry = self._entries.get(key)
        failed = answer.cancelled() or answer.exception() is not None
        if failed and entry is not None and entry.answer is answer:
            del self._entries[key]

    def _forget(self, before: float) -> None:
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.since > before and len(self._entries) < self._max_answers:
                return
            del self._entries[key]
