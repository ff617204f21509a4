"""Fanwise: a high-throughput WebSocket fan-out server, and the library to put one into a FastAPI application.

One log per channel, one cursor per client. A room imports only from rooms below it; each has a map of its own.

    cli          the command line
    tuning       replays of recorded or planned traffic with other settings
    serve        uvicorn, set up for fan-out
    app          `create_app(settings)`
    testing      a plugin of pytest for the applications of users
    settings     all settings; read by `app`, `serve` and `cli` only
    embedding    `Broadcaster`, as FastAPI applications hold it
    routes       the FastAPI routes; `routes.auth` checks key, hosts and origins
    protocol     the classes that uvicorn is given
    transport    connections under uvicorn and ASGI: sockets, and limits and deadlines of peers
    broadcaster  the hub on an event loop: all tasks, sweeps that write to sockets, the audit that closes slow clients
    backplane    one engine for several servers: it orders publications, and each server applies them
    client       the Python client
    core         logs, queues, encodings, close reasons, error codes: synchronous, without I/O
    tools        programs that look at a server from outside: `bench`, `doctor`, `top`
    logs         the events, and how their lines look
    errors       everything that Fanwise raises

Public are the names below, `app:app`, and what `protocol`, `client`, `logs`, `routes` and `testing` hand out; nothing
else is.

The life of a publication: `Broadcaster.publish` appends it to its channel's log and schedules a sweep. Publishing costs
no more. In the next turn of the event loop the `Sweeper` joins new publications into one slice, and writes the slice to
the file descriptor of every client in the channel's ready group. A client whose socket does not take the whole slice
leaves the group: the rest of a frame goes to its transport, and its queue takes a cursor of its own. Such a client gets
slices of the log in turns, at its own pace, and joins the group again when it is up to date. By default an audit closes
a client that stays further behind than its queue is wide, with a reason.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .broadcaster.client import Client
    from .broadcaster.hooks import Hooks
    from .broadcaster.statistics import ChannelStatistics, ClientStatistics, Statistics
    from .core.options import ChannelOptions
    from .core.publication import Position, Publication
    from .core.reasons import CloseReason
    from .core.rights import Action, User
    from .embedding import Broadcaster
    from .errors import (
        AlreadyConnectedError,
        AlreadySubscribedError,
        BeginningError,
        ChannelFullError,
        ChannelLimitError,
        ChannelNameError,
        DrainingError,
        FanwiseError,
        FilterLimitError,
        FullError,
        GoneError,
        MessageTooBigError,
        NoChannelError,
        NotRunningError,
        OptionsError,
        PayloadError,
        PositionError,
        SettingsError,
        TagError,
        ThreadError,
        UserError,
    )

__all__ = [
    "Action",
    "AlreadyConnectedError",
    "AlreadySubscribedError",
    "BeginningError",
    "Broadcaster",
    "ChannelFullError",
    "ChannelLimitError",
    "ChannelNameError",
    "ChannelOptions",
    "ChannelStatistics",
    "Client",
    "ClientStatistics",
    "CloseReason",
    "DrainingError",
    "FanwiseError",
    "FilterLimitError",
    "FullError",
    "GoneError",
    "Hooks",
    "MessageTooBigError",
    "NoChannelError",
    "NotRunningError",
    "OptionsError",
    "PayloadError",
    "Position",
    "PositionError",
    "Publication",
    "SettingsError",
    "Statistics",
    "TagError",
    "ThreadError",
    "User",
    "UserError",
]

# {public name: its module}; all others come from `errors`.
_HOMES = {
    "Action": "core.rights",
    "Broadcaster": "embedding",
    "ChannelOptions": "core.options",
    "ChannelStatistics": "broadcaster.statistics",
    "Client": "broadcaster.client",
    "ClientStatistics": "broadcaster.statistics",
    "CloseReason": "core.reasons",
    "Hooks": "broadcaster.hooks",
    "Position": "core.publication",
    "Publication": "core.publication",
    "Statistics": "broadcaster.statistics",
    "User": "core.rights",
}


def __getattr__(name: str) -> object:
    """Imports a public name at its first use (PEP 562): a program that is only a client needs no FastAPI."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f".{_HOMES.get(name, 'errors')}", __name__)
    found = globals()[name] = getattr(home, name)
    return found
