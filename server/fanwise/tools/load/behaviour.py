"""How simulated clients behave."""

from __future__ import annotations

from enum import StrEnum


class Behaviour(StrEnum):
    """What a client does with its connection. The demo has the first three."""

    HEALTHY = "healthy"  # reads at once
    SLOW = "slow"  # reads so many bytes a second
    STALLED = "stalled"  # reads nothing after the handshake
    FLAPPING = "flapping"  # leaves and comes back, again and again
    PUBLISHER = "publisher"  # publishes to one channel; receives too with the plain dialect
