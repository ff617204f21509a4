"""Latencies in bounded memory: a histogram with 64 buckets per power of two, so that every figure is within 1.6 %."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

_BITS = 6  # 2 ** 6 buckets per power of two
_LINEAR = 1 << (_BITS + 1)  # below, a bucket is one nanosecond wide
_LARGEST = (1 << 40) - 1  # ns, 18 minutes; anything later counts as this
_BUCKETS = (40 - _BITS + 1) << _BITS


def bucket(value_ns: int) -> int:
    """The bucket of a latency; negative latencies count as 0, and those above 18 minutes as 18 minutes."""
    if value_ns < _LINEAR:
        return max(value_ns, 0)
    value_ns = min(value_ns, _LARGEST)
    shift = value_ns.bit_length() - _BITS - 1
    return (shift << _BITS) + (value_ns >> shift)


def lower_bound(index: int) -> int:
    """The least latency (ns) of a bucket."""
    if index < _LINEAR:
        return index
    shift = (index >> _BITS) - 1
    return (index - (shift << _BITS)) << shift


def quantile_ns(counts: Mapping[int, int], share: float) -> int:
    """The latency that `share` (0 to 1) of {bucket: deliveries} did not exceed: a bucket's middle; 0 without any."""
    left, middle = share * sum(counts.values()), 0
    for index in sorted(counts):
        middle = (lower_bound(index) + lower_bound(index + 1)) // 2
        left -= counts[index]
        if left <= 0:
            break
    return middle


class Histogram:
    """Latencies of deliveries, in ns. Adding one costs O(1), memory is constant."""

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS  # [deliveries], by bucket
        self.total = 0
        self.max_ns = 0
        self.sum_ns = 0  # of the buckets' middles, where `add_ascending` did not look at each

    def add(self, value_ns: int, count: int = 1) -> None:
        """Counts `count` deliveries that took `value_ns`."""
        self.counts[bucket(value_ns)] += count
        self.total += count
        self.sum_ns += value_ns * count
        self.max_ns = max(self.max_ns, value_ns)

    def add_ascending(self, times_ns: Sequence[int], since_ns: int, count: int) -> None:
        """Counts `count` deliveries at each of `times_ns` (ascending), all of which were sent at `since_ns`.

        O(buckets between the first and the last time), each with a bisection: many deliveries within a moment cost
        little more than one.
        """
        done, size = 0, len(times_ns)
        while done < size:
            index = bucket(times_ns[done] - since_ns)
            bound = since_ns + lower_bound(index + 1)
            last = size if index == _BUCKETS - 1 else max(bisect_left(times_ns, bound, done), done + 1)
            self.counts[index] += (last - done) * count
            done = last
        self.total += size * count
        self.sum_ns += (times_ns[0] + times_ns[-1] - 2 * since_ns) * size * count // 2
        self.max_ns = max(self.max_ns, times_ns[-1] - since_ns)

    def merge(self, other: Histogram) -> None:
        """Adds everything that `other` has counted."""
        for index, count in other.sparse().items():
            self.counts[index] += count
        self.total += other.total
        self.sum_ns += other.sum_ns
        self.max_ns = max(self.max_ns, other.max_ns)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "counts": self.sparse()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        for index, count in state.pop("counts").items():
            self.counts[index] = count
        self.__dict__.update(state)

    def sparse(self) -> dict[int, int]:
        """{bucket: deliveries} of the buckets that have any."""
        return {index: count for index, count in enumerate(self.counts) if count}

    def quantile_ns(self, share: float) -> int:
        """The latency that `share` (0 to 1) of the deliveries did not exceed; 0 when there were none."""
        return min(quantile_ns(self.sparse(), share), self.max_ns)

    @property
    def mean_ns(self) -> float:
        """The mean, within the width of a bucket."""
        return self.sum_ns / self.total if self.total else 0.0
