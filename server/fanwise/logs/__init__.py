"""The server's log: one event is one line.

    events      the closed table of events, and `log`
    formatting  `log_config`: how lines look
    limiter     not too many lines of a kind
    scrubbing   no secrets and no control characters in a line

Every line of the server's own goes through `events.log`; tests hold each call against the table.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .formatting import log_config, take_over

__all__ = ["log_config", "take_over"]


def __getattr__(name: str) -> object:
    """Imports a public name when it is used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".formatting", __name__), name)
