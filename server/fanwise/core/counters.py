"""The tally: what is counted. Plain integers in plain lists, added to where things happen and read when somebody asks.

A counter costs its addition and nothing else: no lock, no label, no object per observation. Counts per client are taken
once per cohort or once per audit, never in the loop over the file descriptors.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import add
from typing import Final

from .codes import ErrorCode
from .queue import Gap
from .reasons import CloseReason, GapReason

LAG_BOUNDS: Final = (0, *(2**power for power in range(18)))  # publications: 0, 1, 2, 4, ... 131072
# Seconds: 10 us, 20 us, 50 us, ... 10 s, and a minute: what no client waits for.
TIME_BOUNDS: Final = (*(step * 10.0**power for power in range(-5, 1) for step in (1, 2, 5)), 10.0, 60.0)

SPAN_BOUNDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0)  # seconds: what audits see
SIZE_BOUNDS: Final = tuple(4.0**power for power in range(2, 15))  # bytes: 16, 64, 256, ... 268435456
RATE_BOUNDS: Final = tuple(10.0**power * step for power in range(6) for step in (1, 3))  # per second: 1, 3, 10, ...
OUTCOMES: Final = ("returned", "returned_late", "recovered", "away")


def name_of(reason: CloseReason) -> str:
    """Returns the name of a close reason in statistics: "no_pong"."""
    return reason.name.lower()


class Histogram:
    """Counts of values, in buckets.

    Attributes:
        bounds: Upper ends of the buckets, ascending; a value that is one belongs to that bucket.
        counts: One for each bucket and one for what is above the last bound. Not cumulative.
        sum: Of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Final = tuple(bounds)
        self.counts: Final = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Counts `value`, `times` times. O(log buckets)."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def observe_least(self) -> None:
        """Counts a 0, where no bound is below. O(1)."""
        self.counts[0] += 1

    def move(self, before: float, after: float) -> None:
        """Counts `after` in place of a `before` that was counted earlier. O(log buckets)."""
        self.counts[bisect_left(self.bounds, before)] -= 1
        self.observe(after)
        self.sum -= before

    @property
    def count(self) -> int:
        """Number of values."""
        return sum(self.counts)


class Counters:
    """Everything that one hub, its sweeps and its clients count, since the start.

    Attributes:
        connections: Clients that were taken in.
        publications: Publications that were appended to a log.
        deliveries: Publications given to a client's socket or transport, once per client.
        delivered_bytes: Their bytes on the wire, without what a server that frames by itself adds.
        compressions: Messages that were compressed, once per publication and dialect.
        compressed_bytes: Their bytes before that.
        saved_bytes: How many bytes less the compressed ones have; a message that did not get smaller saves none.
        dropped: {cause: publications that a client was not given}, once per client. The causes are the reasons of gaps,
            and those of closing: what the client still had to get then.
        gaps: {reason: gaps that clients were given}.
        closed: {reason: connections that ended}.
        rejected: {code: connections, requests and operations that were refused}.
        lag: Each client's lag in publications at each audit; those who are ready count as 0.
        peak_lag: The furthest that each queue has been behind, live or gone. A queue that gets further behind moves on,
            so that counts of lower buckets go down too.
        ready_age: Of the oldest publication in what sweeps write to ready clients, in seconds, once per delivery.
        catching_up_age: Of the oldest publication in what clients get that are behind, in seconds, once per delivery.
        last_socket: From publishing to the write to the last ready client, in seconds, once per sweep.
        sweep: How long one turn's sweeps held the event loop, in seconds.
        ping_rtt: From a ping to its pong, in seconds.
        loop_lag: How late the event loop called a timer, in seconds.
        dropped_clients: {outcome: dropped clients}. "returned": one resumed in time; "returned_late": the log had let
            go of a part; "away": it has not resumed for a minute, or too many others were dropped since. "recovered"
            are those of the first two that were up to date after that.
        pause: How long a connection took nothing while something waited for it, in seconds.
        catch_up: How long a client was behind that is up to date now, in seconds.
        stretch_messages, stretch_bytes, stretch_seconds: The furthest that a client was behind, once for each time that
            it was: publications, payload bytes, age of the oldest. A dropped client goes on falling until it resumes.
        message_bytes: Average payload of a channel's publications in a quarter of a second, once for each.
        channel_rate: A channel's publications per second, once for each quarter of a second with some.
    """

    __slots__ = (
        "catch_up",
        "catching_up_age",
        "channel_rate",
        "closed",
        "compressed_bytes",
        "compressions",
        "connections",
        "delivered_bytes",
        "deliveries",
        "dropped",
        "dropped_clients",
        "gaps",
        "lag",
        "last_socket",
        "loop_lag",
        "message_bytes",
        "pause",
        "peak_lag",
        "ping_rtt",
        "publications",
        "ready_age",
        "rejected",
        "saved_bytes",
        "stretch_bytes",
        "stretch_messages",
        "stretch_seconds",
        "sweep",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.publications = 0
        self.deliveries = 0
        self.delivered_bytes = 0
        self.compressions = 0
        self.compressed_bytes = 0
        self.saved_bytes = 0
        gaps = [f"gap_{reason.value}" for reason in GapReason]
        closes = [f"closed_{name_of(reason)}" for reason in CloseReason if reason is not CloseReason.NORMAL]
        self.dropped = dict.fromkeys([*gaps, *closes], 0)
        self.gaps = dict.fromkeys(GapReason, 0)
        self.closed = dict.fromkeys(CloseReason, 0)
        self.rejected = dict.fromkeys(ErrorCode, 0)
        self.lag = Histogram(LAG_BOUNDS)
        self.peak_lag = Histogram(LAG_BOUNDS)
        self.ready_age = Histogram(TIME_BOUNDS)
        self.catching_up_age = Histogram(TIME_BOUNDS)
        self.last_socket = Histogram(TIME_BOUNDS)
        self.sweep = Histogram(TIME_BOUNDS)
        self.ping_rtt = Histogram(TIME_BOUNDS)
        self.loop_lag = Histogram(TIME_BOUNDS)
        self.dropped_clients = dict.fromkeys(OUTCOMES, 0)
        self.pause = Histogram(SPAN_BOUNDS)
        self.catch_up = Histogram(SPAN_BOUNDS)
        self.stretch_messages = Histogram(LAG_BOUNDS)
        self.stretch_bytes = Histogram(SIZE_BOUNDS)
        self.stretch_seconds = Histogram(SPAN_BOUNDS)
        self.message_bytes = Histogram(SIZE_BOUNDS)
        self.channel_rate = Histogram(RATE_BOUNDS)

    def gap(self, gap: Gap) -> int:
        """Counts a gap that a client is given; returns how many publications it is.

        The number is unknown, and counted as 0, where the log itself is gone.
        """
        missing = 0 if gap.reason is GapReason.EPOCH else gap.last - gap.first + 1 - gap.unwanted
        self.gaps[gap.reason] += 1
        self.dropped[f"gap_{gap.reason.value}"] += missing
        return missing

    def close(self, reason: CloseReason, *, lag: int) -> None:
        """Counts a connection that has ended, and what its client still had to get.

        A client that leaves by itself was not dropped, whatever it has not read.
        """
        self.closed[reason] += 1
        if reason is not CloseReason.NORMAL:
            self.dropped[f"closed_{name_of(reason)}"] += lag

    def reject(self, code: ErrorCode) -> None:
        """Counts a refusal."""
        self.rejected[code] += 1

    def observe_stretch(self, messages: int, size_bytes: int, seconds: float) -> None:
        """Counts how far a client was behind, at most, in a stretch that is over."""
        self.stretch_messages.observe(messages)
        self.stretch_bytes.observe(size_bytes)
        self.stretch_seconds.observe(seconds)

    @property
    def age(self) -> Histogram:
        """Ages of all deliveries: to ready clients, and to clients that are behind. O(buckets)."""
        both = Histogram(TIME_BOUNDS)
        both.counts[:] = map(add, self.ready_age.counts, self.catching_up_age.counts)
        both.sum = self.ready_age.sum + self.catching_up_age.sum
        return both

    def histograms(self) -> dict[str, Histogram]:
        """Returns {name in `/stats`, with the unit at its end: histogram}."""
        return {
            "lag_messages": self.lag,
            "peak_lag_messages": self.peak_lag,
            "age_seconds": self.age,
            "ready_age_seconds": self.ready_age,
            "catching_up_age_seconds": self.catching_up_age,
            "last_socket_seconds": self.last_socket,
            "sweep_seconds": self.sweep,
            "ping_rtt_seconds": self.ping_rtt,
            "loop_lag_seconds": self.loop_lag,
            "pause_seconds": self.pause,
            "catch_up_seconds": self.catch_up,
            "stretch_lag_messages": self.stretch_messages,
            "stretch_lag_bytes": self.stretch_bytes,
            "stretch_lag_seconds": self.stretch_seconds,
            "message_bytes": self.message_bytes,
            "channel_messages_per_second": self.channel_rate,
        }
