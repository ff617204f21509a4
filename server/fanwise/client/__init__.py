"""The Python client, for other programs. Of the server, the room imports only publications and errors.

    client        `FanwiseClient`
    uplink        its publishing half
    downlink      its subscribing half
    link          a connection that is opened again when it is lost
    subscription  the stream of one channel: received messages, and gaps
    codec         the JSON dialect as a client speaks it
    backoff       when a client comes back
    errors        what the Python client raises

Public names come from `fanwise.client`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import ClientError, FanwiseClient, Gap, Message, Position, State

__all__ = ["ClientError", "FanwiseClient", "Gap", "Message", "Position", "State"]


def __getattr__(name: str) -> object:
    """Imports a public name when it is used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".client", __name__), name)
