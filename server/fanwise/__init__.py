"""Fanwise: a high-throughput WebSocket fan-out server, and the library to put one into a FastAPI application.

One log per channel, one cursor per client. A room imports only from rooms below it; each has a map of its own.

    cli                  the command line            serve        uvicorn, set up for fan-out
    app                  `create_app(settings)`      settings     read by `app`, `serve` and `cli` only
    embedding            `Broadcaster`, as FastAPI applications hold it
    routes               what FastAPI serves         protocol     the classes that uvicorn is given
    transport            how bytes reach a socket: uvicorn, ASGI
    broadcaster          the hub on an event loop: every task is created here
    client               the Python client
    core, tools          synchronous, without I/O; programs that look at a server from outside
    logs                 how lines look              errors       everything that Fanwise raises

Public are the names below, `app:app`, and what `protocol`, `client`, `logs` and `routes` hand out; nothing else is.

The life of a publication: `Broadcaster.publish` appends it to its channel's log and schedules a sweep, and that is all
that publishing costs. In the next turn of the event loop the `Sweeper` joins what is new into one slice and writes the
same bytes to the file descriptor of every client in the channel's ready group. A client whose socket does not take
them all leaves the group: the rest goes to its transport, its queue keeps a cursor of its own, and its writer task
serves it from the log at its own pace until it is up to date and joins the group again. A client that falls behind by
more than its queue allows is closed, with a reason.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .broadcaster.client import Client
    from .broadcaster.statistics import ChannelStatistics, ClientStatistics, Statistics
    from .core.publication import Position, Publication
    from .core.reasons import CloseReason
    from .embedding import Broadcaster
    from .errors import (
        AlreadyConnectedError,
        AlreadySubscribedError,
        ChannelLimitError,
        ChannelNameError,
        DrainingError,
        FanwiseError,
        FullError,
        GoneError,
        MessageTooBigError,
        NotRunningError,
        PayloadError,
        PositionError,
        SettingsError,
    )

__all__ = [
    "AlreadyConnectedError",
    "AlreadySubscribedError",
    "Broadcaster",
    "ChannelLimitError",
    "ChannelNameError",
    "ChannelStatistics",
    "Client",
    "ClientStatistics",
    "CloseReason",
    "DrainingError",
    "FanwiseError",
    "FullError",
    "GoneError",
    "MessageTooBigError",
    "NotRunningError",
    "PayloadError",
    "Position",
    "PositionError",
    "Publication",
    "SettingsError",
    "Statistics",
]

# {name: module that it comes from}; everything else comes from `errors`.
_HOMES = {
    "Broadcaster": "embedding",
    "ChannelStatistics": "broadcaster.statistics",
    "Client": "broadcaster.client",
    "ClientStatistics": "broadcaster.statistics",
    "CloseReason": "core.reasons",
    "Position": "core.publication",
    "Publication": "core.publication",
    "Statistics": "broadcaster.statistics",
}


def __getattr__(name: str) -> object:
    """Imports what is asked for when it is asked for (PEP 562): a program that is only a client needs no FastAPI."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f".{_HOMES.get(name, 'errors')}", __name__)
    found = globals()[name] = getattr(home, name)
    return found
