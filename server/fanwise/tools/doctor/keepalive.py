"""Keep-alive against what hides in front of a ping: how slow a reader may be before it is taken for dead."""

from __future__ import annotations

import math

from ..humanize import size, span
from .findings import Finding, ok, warn

FAIR_BYTES_PER_SECOND = 60_000  # a phone on a bad line reads as slowly as that, and is alive


def slow_reader(*, hidden_bytes: int, ping_seconds: float, pong_seconds: float, skips: bool) -> Finding:
    """Checks how fast a client has to read so that its pong comes in time.

    A ping stands behind all bytes written before. Our protocol class does not judge a client by its pong while bytes
    wait in user space, but these may leave at any time. To be safe, a client has to read all hidden bytes in
    `pong_seconds`. `skips`: whether the overflow policy does, so that a client stays while its kernel answers.
    """
    name, rate = "keep-alive", hidden_bytes / pong_seconds
    found = (
        f"a client that reads less than {size(rate)}/s may be ended after {span(ping_seconds + pong_seconds)}: the "
        f"{size(hidden_bytes)} that hide in front of a ping have to be read in {span(pong_seconds)} (while data waits "
        "in front of it in user space, the rule for stalled clients judges instead)"
    )
    if skips:
        return ok(name, "a client that answers no ping stays while its kernel answers: the overflow policy skips")
    if rate <= FAIR_BYTES_PER_SECOND:
        return ok(name, found)
    enough = math.ceil(hidden_bytes / FAIR_BYTES_PER_SECOND)
    return warn(name, found, f"raise --pong-seconds to {enough}, or lower --socket-unsent-bytes (16384 by default)")
