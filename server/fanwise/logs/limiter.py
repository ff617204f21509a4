"""Not too many lines of a kind: 10,000 clients that are dropped at once are told in a few of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .events import LOGGER, Event, event_of

_TEMPLATE_CHARACTERS = 100  # how much of what another library logs tells its kind
_OTHERS = ("", "others")  # the kind of those that are one too many


class _Bucket:
    """How many lines of one kind may still be written."""

    __slots__ = ("left_out", "lines", "seen_at")

    def __init__(self, lines: float, now: float) -> None:
        self.lines = lines
        self.seen_at = now
        self.left_out = 0


class Limiter(logging.Filter):
    """A handler's filter: of each kind of line a burst, and then a few now and then. Memory is bounded.

    A kind is a code, and of other libraries a logger and the beginning of what it logs. The last line before others
    are left out says so (`limited`), and the next one says how many were (`suppressed`).

    Args:
        burst_lines: How many lines of a kind may come at once.
        line_seconds: After how long one more may come.
        max_kinds: How many kinds are told apart; all others are one.
        clock: Seconds, from anywhere.
    """

    def __init__(
        self,
        *,
        burst_lines: int = 20,
        line_seconds: float = 2.0,
        max_kinds: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._burst_lines = burst_lines
        self._line_seconds = line_seconds
        self._max_kinds = max_kinds
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}  # {kind: bucket}
        self._lock = threading.RLock()  # logging from a finaliser may come in between

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it may be written."""
        if event_of(record) is Event.LEFT_OUT:
            return True  # it stands for what was not written
        with self._lock:
            bucket = self._bucket(kind_of(record), self._clock())
            if bucket.lines < 1:
                bucket.left_out += 1
                return False
            bucket.lines -= 1
            left_out, bucket.left_out = bucket.left_out, 0
        if left_out:
            record.suppressed = left_out
        if bucket.lines < 1:
            record.limited = True
        return True

    def take_left_out(self, *, quiet_seconds: float) -> dict[str, int]:
        """{kind: how many lines were left out}, of kinds that were not seen for so long; they count as told then."""
        told = {}
        with self._lock:
            now = self._clock()
            for (name, template), bucket in self._buckets.items():
                if bucket.left_out and now - bucket.seen_at >= quiet_seconds:
                    told[template if name == LOGGER else f"{name}: {template}"] = bucket.left_out
                    bucket.left_out = 0
        return told

    def _bucket(self, kind: tuple[str, str], now: float) -> _Bucket:
        if kind not in self._buckets and len(self._buckets) >= self._max_kinds:
            self._forget_the_quiet(now)
            if len(self._buckets) >= self._max_kinds:
                kind = _OTHERS
        bucket = self._buckets.get(kind)
        if bucket is None:
            bucket = self._buckets[kind] = _Bucket(self._burst_lines, now)
        bucket.lines = self._lines(bucket, now)
        bucket.seen_at = now
        return bucket

    def _lines(self, bucket: _Bucket, now: float) -> float:
        return min(self._burst_lines, bucket.lines + (now - bucket.seen_at) / self._line_seconds)

    def _forget_the_quiet(self, now: float) -> None:
        """Those about which there is nothing to remember."""
        for kind, bucket in list(self._buckets.items()):
            if not bucket.left_out and self._lines(bucket, now) >= self._burst_lines:
                del self._buckets[kind]


def kind_of(record: logging.LogRecord) -> tuple[str, str]:
    """Lines of the same kind are limited together."""
    event = event_of(record)
    if event is not Event.LIBRARY:
        return record.name, event.code
    template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    return record.name, template[:_TEMPLATE_CHARACTERS].partition("\n")[0]
