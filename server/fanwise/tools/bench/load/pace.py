"""When messages are due: endless series of times of the monotonic clock (ns), in order."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import count, repeat

from .plan import Plan


def times(plan: Plan, channel: int, start_ns: int) -> Iterator[int]:
    """The times of one channel's messages in a plan that does not saturate. Channels take turns."""
    if plan.recording is not None:
        return (start_ns + int(message.at_seconds * 1e9) for message in plan.recording.channels[channel])
    series = []
    if plan.rate is not None:
        shift_ns = int(channel / plan.rate * 1e9)
        series.append(steady(plan.rate / plan.channels, start_ns + shift_ns))
    messages, more = divmod(plan.burst_messages, plan.channels)
    if messages + (channel < more):
        series.append(bursts(messages + (channel < more), plan.every_seconds, start_ns))
    return merge(*series)


def steady(rate: float, start_ns: int) -> Iterator[int]:
    """One each 1/rate seconds."""
    return count(start_ns, max(int(1e9 / rate), 1))


def bursts(messages: int, every_seconds: float, start_ns: int) -> Iterator[int]:
    """So many at a time."""
    for at_ns in count(start_ns, int(every_seconds * 1e9)):
        yield from repeat(at_ns, messages)
