"""A few numbers in memory that all workers of a run share."""

from __future__ import annotations

from ctypes import Array, c_uint64

from ..load.plan import Plan

NOBODY = (1 << 63) - 1  # no healthy client of this channel in this worker


class SharedCounters:
    """Counters that workers read of each other while messages flow: 64-bit numbers, each written by one process."""

    def __init__(self, cells: Array[c_uint64], *, workers: int, channels: int) -> None:
        self.cells = cells
        self.workers = workers
        self.channels = channels

    @staticmethod
    def cells_needed(plan: Plan) -> int:
        """Returns how many numbers the counters of this plan have."""
        return (plan.workers + 2) * plan.channels

    def post(self, worker: int, channel: int, lowest: int | None) -> None:
        """Posts the sequence that a worker's last healthy client waits for."""
        self.cells[worker * self.channels + channel] = NOBODY if lowest is None else lowest

    def lowest(self, channel: int) -> int:
        """Returns the sequence that the last healthy client of all waits for; 0 without one."""
        least = min(self.cells[worker * self.channels + channel] for worker in range(self.workers))
        return 0 if least == NOBODY else int(least)

    def sent(self, channel: int, sequence: int, *, finished: bool) -> None:
        """Posts the last sequence of a channel's publisher, and whether it was the final one."""
        row = self.workers * self.channels
        self.cells[row + channel] = sequence
        self.cells[row + self.channels + channel] = int(finished)

    def all_sent(self) -> list[int]:
        """[last sequence] by channel."""
        row = self.workers * self.channels
        return [int(cell) for cell in self.cells[row : row + self.channels]]

    def all_finished(self) -> bool:
        """Returns whether all publishers are through."""
        row = (self.workers + 1) * self.channels
        return all(self.cells[row : row + self.channels])
