"""What simulated clients are about to do, and when."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

_LONGEST_SECONDS = 1.0  # of a wait


class Agenda:
    """Actions at times of the monotonic clock (ns). One that is due and then called off asks whether it still holds."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[int], None]]] = []  # [(when, order, action)]
        self._order = count()

    def at(self, when_ns: int, action: Callable[[int], None]) -> None:
        """Calls `action` with the time, once that is `when_ns` or later."""
        heappush(self._heap, (when_ns, next(self._order), action))

    def run(self, now_ns: int) -> None:
        """Does all that is due; what an action adds waits for the next run."""
        heap, due = self._heap, []
        while heap and heap[0][0] <= now_ns:
            due.append(heappop(heap)[2])
        for action in due:
            action(now_ns)

    def due_seconds(self, now_ns: int) -> float:
        """Returns the seconds until something is due, at most 1."""
        return min(max(self._heap[0][0] - now_ns, 0) / 1e9, _LONGEST_SECONDS) if self._heap else _LONGEST_SECONDS
