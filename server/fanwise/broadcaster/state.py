"""The states of a client."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a client is doing. It goes back and forth between the first two, and on to the others."""

    BEHIND = "behind"  # its writer task serves it
    READY = "ready"  # it has everything and its sink is empty: sweeps serve it, or wake it
    CLOSING = "closing"  # its writer task is closing it
    CLOSED = "closed"
