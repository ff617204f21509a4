"""A token bucket for each event: 10,000 clients that are dropped at once take a few lines of the log."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable

from .events import Event, event_of, log


class _Bucket:
    """The lines of one kind that may still be written, and the number of those left out."""

    __slots__ = ("left_out", "lines", "seen_at")

    def __init__(self, lines: float) -> None:
        self.lines = lines
        self.seen_at = 0.0
        self.left_out = 0


class Limiter(logging.Filter):
    """A handler's filter: lets a burst of each kind of line pass, and then one line each `line_seconds`.

    The last line before others are left out is marked `limited`; the next one carries their number (`suppressed`).

    Args:
        burst_lines: How many lines of a kind may come at once.
        line_seconds: Time after which one more line may come.
        clock: Seconds since any fixed moment.
    """

    def __init__(
        self, *, burst_lines: int = 20, line_seconds: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._burst_lines = burst_lines
        self._line_seconds = line_seconds
        self._clock = clock
        self._buckets: defaultdict[str, _Bucket] = defaultdict(lambda: _Bucket(burst_lines))  # {kind: bucket}
        self._lock = threading.RLock()  # a finaliser may log while its thread is in here

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the record may be written."""
        if event_of(record) is Event.LEFT_OUT:
            return True  # an event about other lines is never left out
        with self._lock:
            bucket, now = self._buckets[kind_of(record)], self._clock()
            bucket.lines = min(self._burst_lines, bucket.lines + (now - bucket.seen_at) / self._line_seconds)
            bucket.seen_at = now
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
        """Returns {kind: lines left out} of the kinds not seen for `quiet_seconds`, and forgets these numbers."""
        found = {}
        with self._lock:
            now = self._clock()
            for kind, bucket in self._buckets.items():
                if bucket.left_out and now - bucket.seen_at >= quiet_seconds:
                    found[kind], bucket.left_out = bucket.left_out, 0
        return found


def kind_of(record: logging.LogRecord) -> str:
    """Returns an event's code, or the logger and the level of another library: neither grows with the number of lines.

    The level keeps warnings, which a stranger can cause, from hiding the errors of their logger.
    """
    event = event_of(record)
    return f"{record.name}: {record.levelname.lower()}" if event is Event.LIBRARY else event.code


_made: list[Limiter] = []  # the limiter of the latest log configuration


def make_limiter(*, clock: Callable[[], float] = time.monotonic) -> Limiter:
    """Makes the limiter of a log configuration. `log_left_out` asks the latest one."""
    _made[:] = [Limiter(clock=clock)]
    return _made[0]


def log_left_out(*, quiet_seconds: float = 5.0) -> None:
    """Logs the number of lines left out, for kinds without a line for `quiet_seconds`. To be called now and then."""
    for limiter in _made:
        for kind, lines in limiter.take_left_out(quiet_seconds=quiet_seconds).items():
            log(Event.LEFT_OUT, kind=kind, lines=lines)
