"""The behaviours of simulated clients."""

from __future__ import annotations

from enum import StrEnum


class Behaviour(StrEnum):
    """A client's use of its connection."""

    HEALTHY = "healthy"  # reads at once
    SLOW = "slow"  # reads so many bytes a second
    STALLED = "stalled"  # reads nothing after the handshake
    FLAPPING = "flapping"  # leaves and comes back, again and again
    PAUSING = "pausing"  # reads nothing for a while, again and again
    REPLAYED = "replayed"  # reads as a client of a trace did
    PUBLISHER = "publisher"  # publishes to one channel; receives too with the plain dialect


READ_LATE = (Behaviour.SLOW, Behaviour.STALLED, Behaviour.PAUSING, Behaviour.REPLAYED)
