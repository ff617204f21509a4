"""Idempotency keys: a request that is sent again gets the first answer again, and publishes nothing.

The header is that of the IETF draft "The Idempotency-Key HTTP Header Field".
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from ..errors import IdempotencyError

# Of an entry beside its key and its answer: the tuple, the digest, the time, and its place in the table.
_ENTRY_BYTES: Final = 360


class _Entry(NamedTuple):
    digest: bytes  # of the request
    since: float
    answer: bytes


class _Request(NamedTuple):
    """A request that is being done."""

    digest: bytes
    answer: asyncio.Future[bytes]


class Idempotency:
    """Remembers answers by their keys, for `seconds` and within `max_bytes`: beyond that the oldest go earlier.

    Args:
        seconds: Time for which an answer is remembered.
        max_bytes: Memory of all keys and answers, with what each takes in the table. Requests that are being done are
            not counted: there is one for each connection at most.
    """

    def __init__(self, *, seconds: float = 300.0, max_bytes: int = 16_777_216) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._bytes = 0  # of the entries
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # {key: entry}, the oldest first
        self._doing: dict[str, _Request] = {}  # {key: request}

    def __len__(self) -> int:
        """Returns the number of answers that are remembered."""
        return len(self._entries)

    async def once(self, key: str, request: bytes, act: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """Returns the answer of `act` for this key and request, now or before; waits while another is doing it.

        A request that failed was not done, and may be sent again.

        Raises:
            IdempotencyError: `request` is another than that of the key.
        """
        now = asyncio.get_running_loop().time()
        self._forget(now - self._seconds)
        digest = blake2b(request, digest_size=16).digest()
        known = self._entries.get(key) or self._doing.get(key)
        if known is None:
            known = self._do(key, digest, now, act)
        elif known.digest != digest:
            raise IdempotencyError
        return known.answer if isinstance(known, _Entry) else await asyncio.shield(known.answer)

    def _do(self, key: str, digest: bytes, now: float, act: Callable[[], Coroutine[Any, Any, bytes]]) -> _Request:
        answer = asyncio.ensure_future(act())  # a task of its own: it ends also if this request is cancelled

        def done(_: asyncio.Future[bytes]) -> None:
            del self._doing[key]
            if not answer.cancelled() and answer.exception() is None:
                self._remember(key, _Entry(digest, now, answer.result()))

        answer.add_done_callback(done)
        self._doing[key] = _Request(digest, answer)
        return self._doing[key]

    def _remember(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        self._bytes += _size(key, entry)
        self._forget(-1.0)

    def _forget(self, before: float) -> None:
        """Forgets what is older, and the oldest while there is too much."""
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.since > before and self._bytes <= self._max_bytes:
                return
            del self._entries[key]
            self._bytes -= _size(key, entry)


def _size(key: str, entry: _Entry) -> int:
    """Returns the bytes of memory that an entry takes, about."""
    return sys.getsizeof(key) + sys.getsizeof(entry.answer) + _ENTRY_BYTES
