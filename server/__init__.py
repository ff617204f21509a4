"""Fanwise: a high-throughput WebSocket fan-out server, and the library to put one into a FastAPI application.

One log per channel, one cursor per client. The map, from the top; imports only point down:

    cli, serve          the command line; uvicorn set up for fan-out
    commands, pipes     publish and subscribe on the command line
    doctor, top         a server looked at from outside: packages with maps of their own
    flags               commands that take the settings as flags
    bench               the load generator: a package with a map of its own, which knows only the wire
    app                 create_app(settings) puts everything together (settings: read here and above, nowhere else)
    embedding           Broadcaster as FastAPI applications hold it
    routes              the ready-made routes, put together from the next five lines
    live, report        `/stats`, and the same for watchers each second; metrics: for Prometheus
    publishing, sse     publishing over HTTP, with idempotency; channels as event streams
    demo                simulated clients, Fanwise against the tutorial loop: a package with a map of its own
    inspection          channels and clients over HTTP; asyncapi: WebSockets described for machines
    conversation        answers a client of the JSON dialect; messages: the models of what is said
    api, access         what HTTP routes share; keys and origins
    assets, page        static/: the browser client, and the live page at `/`
    websocket, asgi     a WebSocket becomes a client; the fallback over plain ASGI
    protocol, streaming the protocol classes for uvicorn, the fast path; connection: what they offer
    leased_transport    a transport, and the right to write to its socket; request_cutter: one request at a time
    broadcaster         the service: hub + event loop; every task is created here
    publisher, roster   its two halves: what is published, who is here and who has to go
    statistics          its third: how things stand; subscribing: a client is put onto a channel
    notices, audit      what a broadcaster logs; everything back within its bounds, four times a second
    ranking, looplag    who is furthest behind, what is busiest; how late the event loop is. vitals: of the process
    drain               clients leave one after the other before the server stops
    sweep, writer       asyncio and sockets; outlet, sink, inbox: what they talk to; sockets: their options
    logs, limiter       how lines look, and not too many of a kind; scrubbing: what may stand in one; events: the table
    client              FanwiseClient, for other programs: needs nothing of the above, only publication and errors
    uplink, downlink    its two halves; link: a connection that is kept up; tracking: what came, what is missing
    wire, backoff       the dialect as a client speaks it; when a client comes back
    remote, rates       a server's answers over HTTP; what two of its reports differ by. figures: numbers for people
    deadline            an answer that has to be there in time as a whole
    --------------      no asyncio, no I/O, no logging below
    hub                 channels by name
    channel, dialect    a log with the queues onto it; what a kind of client is told, in which words
    group               a channel's ready clients, in cohorts that share a cursor
    tally               what is counted
    queue               a client's window onto a log; lease: who may write to a descriptor, and for how long
    log                 a channel's retained publications
    encoding            how a publication becomes bytes
    publication, reasons, errors; client_errors: what the Python client raises

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
    from .embedding import FastAPIBroadcaster as Broadcaster
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
    from .publication import Position, Publication
    from .reasons import CloseReason
    from .statistics import ChannelStatistics, ClientStatistics, Statistics
    from .writer import Client

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
    "ChannelStatistics": "statistics",
    "Client": "writer",
    "ClientStatistics": "statistics",
    "CloseReason": "reasons",
    "Position": "publication",
    "Publication": "publication",
    "Statistics": "statistics",
}


def __getattr__(name: str) -> object:
    """Imports what is asked for when it is asked for (PEP 562): a program that is only a client needs no FastAPI."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f".{_HOMES.get(name, 'errors')}", __name__)
    found = globals()[name] = getattr(home, "FastAPIBroadcaster" if name == "Broadcaster" else name)
    return found
