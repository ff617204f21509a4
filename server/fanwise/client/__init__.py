"""The Python client, for other programs. Of the server, the room imports only publications and errors.

    client        `FanwiseClient`
    sync          `SyncClient`, for programs without an event loop
    loop_thread   an event loop in a thread of its own
    uplink        its publishing half
    downlink      its subscribing half
    batch         many messages in one call
    authentication  a link that brings a token
    tokens        the token: fetched, and given to every connection
    link          a connection that is opened again when it is lost
    subscription  the stream of one channel: received messages, and gaps
    codec         the JSON dialect as a client speaks it
    presence      the users on a channel
    fields        the fields of a frame
    backoff       when a client comes back
    errors        what the Python client raises

Public names come from `fanwise.client`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import (
        ClientError,
        Direct,
        FanwiseClient,
        Gap,
        Join,
        Leave,
        Member,
        Message,
        Position,
        Presence,
        PresenceGap,
        State,
    )
    from .sync import SyncClient, SyncSubscription

__all__ = [
    "ClientError",
    "Direct",
    "FanwiseClient",
    "Gap",
    "Join",
    "Leave",
    "Member",
    "Message",
    "Position",
    "Presence",
    "PresenceGap",
    "State",
    "SyncClient",
    "SyncSubscription",
]


def __getattr__(name: str) -> object:
    """Imports a public name when it is used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = ".sync" if name.startswith("Sync") else ".client"
    return getattr(import_module(home, __name__), name)
