"""Fanwise: a high-throughput WebSocket fan-out server, and the library to put one into a FastAPI application.

One log per channel, one cursor per client. The map, from the top; imports only point down:

    cli, serve          the command line; uvicorn set up for fan-out
    commands, pipes     publish and subscribe on the command line
    app                 create_app(settings) puts everything together (settings: read here and above, nowhere else)
    embedding           Broadcaster as FastAPI applications hold it
    routes              the ready-made routes
    websocket, asgi     a WebSocket becomes a client; the fallback over plain ASGI
    protocol            the protocol class for uvicorn, the fast path; connection: what it offers
    broadcaster         the service: hub + event loop; every task is created here
    publisher, roster   its two halves: what is published, who is here and who has to go
    drain               clients leave one after the other before the server stops
    sweep, writer       asyncio and sockets; sink, inbox: what they talk to; sockets: their options
    client              FanwiseClient, for other programs: needs nothing of the above, only publication and errors
    uplink, downlink    its two halves; link: a connection that is kept up; tracking: what came, what is missing
    wire, backoff       the dialect as a client speaks it; when a client comes back
    --------------      no asyncio, no I/O, no logging below
    hub                 channels by name
    group               a channel's ready clients, in cohorts that share a cursor
    queue               a client's window onto a log
    log                 a channel's retained publications
    encoding            how a publication becomes bytes
    publication, reasons, errors

The life of a publication: `Broadcaster.publish` appends it to its channel's log and schedules a sweep, and that is all
that publishing costs. In the next turn of the event loop the `Sweeper` joins what is new into one slice and writes the
same bytes to the file descriptor of every client in the channel's ready group. A client whose socket does not take
them all leaves the group: the rest goes to its transport, its queue keeps a cursor of its own, and its writer task
serves it from the log at its own pace until it is up to date and joins the group again. A client that falls behind by
more than its queue allows is closed, with a reason.
"""

from .embedding import FastAPIBroadcaster as Broadcaster
from .errors import (
    AlreadyConnectedError,
    ChannelNameError,
    DrainingError,
    FanwiseError,
    FullError,
    MessageTooBigError,
    NotRunningError,
    SettingsError,
)
from .publication import Position, Publication
from .reasons import CloseReason
from .statistics import ChannelStatistics, ClientStatistics, Statistics
from .writer import Client

__all__ = [
    "AlreadyConnectedError",
    "Broadcaster",
    "ChannelNameError",
    "ChannelStatistics",
    "Client",
    "ClientStatistics",
    "CloseReason",
    "DrainingError",
    "FanwiseError",
    "FullError",
    "MessageTooBigError",
    "NotRunningError",
    "Position",
    "Publication",
    "SettingsError",
    "Statistics",
]
