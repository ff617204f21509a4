"""The rule of pauses: for how long a client may stop reading, and which bound ends that. A pure function of figures.

A client that stops reading is not noticed at first: the kernels of both sides take some bytes. After that its queue
grows, until the first of its bounds is reached. So a channel forgives

    hidden_bytes / (rate x wire bytes)  +  min(queue_messages / rate, queue_bytes / (rate x size),
                                               forgive_seconds, stall_seconds)

of a pause, and an audit acts up to half a second later. Pings have a bound of their own: a pause that the kernels hide
for longer than `pong_seconds` may end there, as no pong comes and nothing waits in front of the ping. Overflow policies
that skip have neither of these two: a peer whose kernel answers stays.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from enum import Enum
from typing import Final, NamedTuple

from .log import Log

# {bytes of a message on the wire: what the kernels take}, measured on loopback with `benchmarks.accuracy_rooms`, for
# messages that come one at a time, UNSENT_BYTES of `transport.sockets`, and a reader's buffer of 64 KiB (Linux makes it
# 128 KiB).
# A segment of few bytes costs the reader's kernel some 75 bytes more, until the kernel is short of room and packs them.
# Long messages leave up to three of them, or 54 KB, with the sender. A buffer that grows by itself hides as much of
# messages of 370 bytes and more, and without any bound (tcp_rmem, 6 MB and more) of shorter ones.
_HIDDEN: Final = {
    40: 110_000,
    155: 94_000,
    370: 117_000,
    1_080: 134_000,
    2_000: 155_000,
    3_000: 169_000,
    5_000: 179_000,
}
_SHORT_SECONDS: Final = 0.001  # that a log covers at least, as far as rates are concerned
_SHORT_PAYLOAD, _SHORT_HEADER, _HEADER = 125, 2, 4  # bytes of a frame to a client (RFC 6455 section 5.2), up to 64 KiB


TRAFFIC_SECONDS: Final = 10.0  # of a channel's past, as its present traffic
_YOUNG_SECONDS: Final = 1.0  # a channel's first publications are a second's, until they are more


class Traffic(NamedTuple):
    """A channel's present traffic: publications per second, and payload bytes of one of them on average."""

    messages_per_second: float
    message_bytes: float


def traffic(log: Log, time: float) -> Traffic | None:
    """Returns what a log shows of the seconds before `time`; None without a publication. O(log n).

    A log that reaches less far back shows the rate of the time that it covers.
    """
    count, size_bytes, begin = log.since(time - TRAFFIC_SECONDS)
    if not count:
        return None
    seconds = max(time - begin, _YOUNG_SECONDS if log.first == 1 else _SHORT_SECONDS)
    return Traffic(count / seconds, size_bytes / count)


class Bound(Enum):
    """The bounds of a pause, by the names of the settings."""

    MESSAGES = "queue_messages"
    BYTES = "queue_bytes"
    AGE = "forgive_seconds"
    STALL = "stall_seconds"
    PONG = "pong_seconds"


class Bounds(NamedTuple):
    """The settings that bound a pause. `math.inf` stands for none.

    Attributes:
        queue_messages: Publications a client may be behind.
        queue_bytes: Payload bytes a client may be behind.
        forgive_seconds: The age that the oldest publication may have that a client has not got.
        stall_seconds: How long a connection may take nothing while something waits. Infinite for overflow policies that
            skip: a peer whose kernel answers stays.
        pong_seconds: The longest time between a ping and its pong. Infinite for overflow policies that skip, too.
    """

    queue_messages: float
    queue_bytes: float
    forgive_seconds: float = math.inf
    stall_seconds: float = math.inf
    pong_seconds: float = math.inf


class Forgiven(NamedTuple):
    """The longest pause for which a client is neither closed nor skipped.

    Attributes:
        seconds: The pause, `hidden_seconds` included; infinite where no bound is ever reached.
        bound: The bound that is reached first.
        hidden_seconds: For how much of the pause the kernels take everything, so that nobody notices.
    """

    seconds: float
    bound: Bound
    hidden_seconds: float


class QueueLimit(NamedTuple):
    """How many publications a queue holds, and the bound that is reached first."""

    messages: float
    bound: Bound


def queue_limit(bounds: Bounds, *, messages_per_second: float, message_bytes: float) -> QueueLimit:
    """Returns the lag at which a queue is full, at a channel's traffic."""
    found = (
        (bounds.queue_messages, Bound.MESSAGES),
        (_seconds(bounds.queue_bytes, message_bytes), Bound.BYTES),
        (bounds.forgive_seconds * messages_per_second, Bound.AGE),
    )
    messages, bound = min(found, key=lambda one: one[0])
    return QueueLimit(messages if math.isinf(messages) else math.floor(messages), bound)


def wire_size(message_bytes: float) -> float:
    """Returns the bytes of a WebSocket frame with `message_bytes` of payload, of the plain dialect."""
    return message_bytes + (_SHORT_HEADER if message_bytes <= _SHORT_PAYLOAD else _HEADER)


def hidden_bytes(wire_bytes: float) -> float:
    """Returns what the kernels of both sides take of a client that does not read, of messages so long on the wire."""
    sizes = list(_HIDDEN)
    place = bisect_left(sizes, wire_bytes)
    if place in (0, len(sizes)):
        return float(_HIDDEN[sizes[min(place, len(sizes) - 1)]])
    low, high = sizes[place - 1], sizes[place]
    share = math.log(wire_bytes / low) / math.log(high / low)
    return _HIDDEN[low] + share * (_HIDDEN[high] - _HIDDEN[low])


def forgiven(
    bounds: Bounds,
    *,
    messages_per_second: float,
    message_bytes: float,
    wire_bytes: float | None = None,
    room_bytes: float | None = None,
) -> Forgiven:
    """Returns the pause that a channel with steady traffic forgives.

    Args:
        bounds: The settings.
        messages_per_second: The channel's publications; 0 for a silent channel.
        message_bytes: Payload of one of them, on average.
        wire_bytes: The bytes that one of them takes on the wire; by default those of the plain dialect.
        room_bytes: What the kernels of both sides take from a sender before it notices; None: `hidden_bytes`.
    """
    rate = messages_per_second
    wire_bytes = wire_size(message_bytes) if wire_bytes is None else wire_bytes
    hidden_seconds = _seconds(hidden_bytes(wire_bytes) if room_bytes is None else room_bytes, rate * wire_bytes)
    if hidden_seconds > bounds.pong_seconds:
        return Forgiven(bounds.pong_seconds, Bound.PONG, hidden_seconds)
    seconds, bound = min(
        (_seconds(bounds.queue_messages, rate), Bound.MESSAGES),
        (_seconds(bounds.queue_bytes, rate * message_bytes), Bound.BYTES),
        (bounds.forgive_seconds, Bound.AGE),
        (bounds.stall_seconds, Bound.STALL),
        key=lambda one: one[0],
    )
    return Forgiven(hidden_seconds + seconds, bound, hidden_seconds)


def _seconds(amount: float, per_second: float) -> float:
    return amount / per_second if per_second > 0 else math.inf
