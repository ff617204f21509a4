"""Counts of the last second, in bounded memory. No I/O."""

from __future__ import annotations

from collections import Counter, deque

from ...tools.load.histogram import bucket, quantile_ns

_STEPS_PER_SECOND = 4
_STEPS = _STEPS_PER_SECOND + 1  # the present one, and those of a second before


class RollingWindow:
    """How many messages came lately, and how old they were. `began` is when it began (monotonic seconds)."""

    def __init__(self, began: float) -> None:
        self._began = began
        # [(quarter of a second, {bucket of the age: messages})], the newest last
        self._steps: deque[tuple[int, Counter[int]]] = deque([(_step(began), Counter())], maxlen=_STEPS)

    def add(self, now: float, age_seconds: float) -> None:
        """Counts a message. O(1)."""
        step = _step(now)
        if step != self._steps[-1][0]:
            self._steps.append((step, Counter()))
        self._steps[-1][1][bucket(int(age_seconds * 1e9))] += 1

    def per_second(self, now: float) -> float:
        """How many came a second, over the last one to one and a quarter."""
        since = max((_step(now) - _STEPS_PER_SECOND) / _STEPS_PER_SECOND, self._began)
        return self._ages(now).total() / (now - since) if now > since else 0.0

    def percentiles(self, now: float, *shares: float) -> list[float] | None:
        """The ages, in seconds, that these shares (0 to 1) of the messages did not exceed; None if none came."""
        ages = self._ages(now)
        return [quantile_ns(ages, share) / 1e9 for share in shares] if ages else None

    def _ages(self, now: float) -> Counter[int]:
        oldest = _step(now) - _STEPS_PER_SECOND
        return sum((ages for step, ages in self._steps if step >= oldest), Counter())


def _step(now: float) -> int:
    return int(now * _STEPS_PER_SECOND)
