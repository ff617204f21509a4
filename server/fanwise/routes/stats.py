"""How the server stands, as one JSON document: `GET /stats` answers with it, and `WS /live` sends its parts.

Its version is 1: fields are added, and none is taken away or changes its meaning.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import platform
import time
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from ..broadcaster.node import Node
from ..broadcaster.statistics import ClientStatistics, describe_channel
from ..core.channel import Channel
from ..core.counters import Histogram, name_of
from ..core.forgiven import Forgiven
from ..core.programs import program_of
from ..version import SERVER_VERSION
from .channels import ChannelInfo
from .clients import ClientInfo, ClosedInfo, closed_info
from .process import read_usage

VERSION: Final = 1
LISTED: Final = 20  # clients and channels in a document
_CHANNELS_SHOWN: Final = 8  # of a client's
_FRESH_SECONDS: Final = 0.5  # for so long lists are used again: they cost O(clients behind + channels)


class Server(BaseModel):
    """The process that answers."""

    version: str
    python: str
    pid: int
    loop: Literal["uvloop", "asyncio"]
    gc_thresholds: Annotated[list[int], Field(description="of Python's garbage collector")]
    sweep: Annotated[str, Field(description="how sweeps write to sockets: `io_uring` or `write`")]
    sweep_why: Annotated[str, Field(description="why that is not io_uring; empty if it is")]


class Standing(BaseModel):
    """Whether the server is ready and in time."""

    ready: Annotated[bool, Field(description="as `/readyz` has it")]
    draining: bool
    loop_lag_seconds: Annotated[float, Field(description="largest delay of the event loop in the last 5 seconds")]


class EngineStanding(BaseModel):
    """The engine behind several servers, as this one sees it, and what it has counted of it."""

    up: Annotated[bool, Field(description="whether publications are taken")]
    engine: Annotated[str, Field(description="its name and version; empty while unknown")]
    why: Annotated[str, Field(description="what is wrong; empty while nothing is")]
    behind: Annotated[int, Field(description="frames that the engine has, and this server has not applied")]
    silent_seconds: Annotated[float | None, Field(description="since the engine was heard; null before the first time")]
    published: Annotated[int, Field(description="publications that the engine has acknowledged")]
    refused: Annotated[int, Field(description="publications that were not published")]
    unconfirmed: Annotated[int, Field(description="publications that perhaps were published")]
    received: Annotated[int, Field(description="publications that arrived")]
    skipped: Annotated[int, Field(description="those of channels that are not open here, or that were known")]
    links: Annotated[int, Field(description="connections that were made")]
    turns: Annotated[int, Field(description="losses of the engine's data")]
    holes: Annotated[int, Field(description="ranges of frames that the engine had no more")]
    deaf: Annotated[int, Field(description="checks that have found frames which were not pushed")]


COUNTED: Final = ("published", "refused", "unconfirmed", "received", "skipped", "links", "turns", "holes", "deaf")


class Now(BaseModel):
    """Present numbers."""

    clients: int
    behind: Annotated[int, Field(description="clients that are not up to date")]
    channels: int
    retained_bytes: Annotated[int, Field(description="memory of all logs, about, at the last audit")]
    rss_bytes: int
    cpu_seconds: float
    descriptors: int | None


class Totals(BaseModel):
    """Counters since the start."""

    connections: Annotated[int, Field(description="clients that were taken in")]
    publications: int
    deliveries: Annotated[int, Field(description="publications given to a socket or transport, once per client")]
    delivered_bytes: Annotated[int, Field(description="and their bytes on the wire")]
    compressions: Annotated[int, Field(description="messages compressed, once per publication and dialect")]
    compressed_bytes: Annotated[int, Field(description="their bytes before that")]
    saved_bytes: Annotated[int, Field(description="and how many bytes less they have")]


class Buckets(BaseModel):
    """A histogram: `counts[i]` values were at most `bounds[i]` and above the bound before; the last is the rest."""

    bounds: list[float]
    counts: list[int]
    sum: float


class Summary(BaseModel):
    """A message of the channel `stats` of `WS /live`, sent once a second."""

    version: Literal[1]
    at: Annotated[float, Field(description="seconds since 1970")]
    uptime_seconds: float
    state: Standing
    now: Now
    totals: Totals
    dropped: Annotated[
        dict[str, int],
        Field(description="publications that clients did not get, by cause: the reasons of gaps and of closing"),
    ]
    dropped_clients: Annotated[
        dict[str, int],
        Field(description="clients that the server gave up, by what became of them; `recovered` is among the rest"),
    ]
    gaps: dict[str, int]
    closed: Annotated[dict[str, int], Field(description="connections that ended, by reason")]
    rejected: Annotated[dict[str, int], Field(description="refusals, by the code of the error")]
    histograms: dict[str, Buckets]
    backplane: Annotated[EngineStanding | None, Field(description="null for a server without a backplane")] = None


class SlowClient(ClientInfo):
    """A client, with at most 8 of its channels."""

    subscriptions: Annotated[int, Field(description="number of its channels")]


class ForgivenPause(BaseModel):
    """The longest pause of a client for which it is neither closed nor skipped, at a channel's present traffic."""

    seconds: float
    bound: Annotated[
        Literal["queue_messages", "queue_bytes", "forgive_seconds", "stall_seconds", "pong_seconds"],
        Field(description="setting that decides"),
    ]
    hidden_seconds: Annotated[float, Field(description="of these, as long as the kernels take everything, about")]


class FullQueue(BaseModel):
    """The lag at which a client's queue is full, at a channel's present traffic."""

    messages: float
    bound: Annotated[
        Literal["queue_messages", "queue_bytes", "forgive_seconds"], Field(description="setting that decides")
    ]


class LeastForgiven(ForgivenPause):
    """The shortest of all channels with clients and publications of the last 10 seconds."""

    channel: str
    limit: FullQueue | None = None


class BusyChannel(ChannelInfo):
    """A channel and its traffic."""

    ready: Annotated[int, Field(description="clients that are up to date")]
    deliveries: int
    skipped: Annotated[int, Field(description="publications that a client did not get")]
    publications_per_second: Annotated[float | None, Field(description="since the lists were last made")]
    forgiven: ForgivenPause | None
    most_per_second: Annotated[float, Field(description="publications, in its busiest quarter of a second")]
    message_bytes: Annotated[float | None, Field(description="payload of a publication, on average")]


class Lists(BaseModel):
    """A message of the channel `lists`, sent once a second while the channel has watchers."""

    at: float
    clients: Annotated[list[SlowClient], Field(description="at most 20, those furthest behind first")]
    channels: Annotated[list[BusyChannel], Field(description="at most 20, the busiest first")]
    forgiven: LeastForgiven | None
    closed_clients: Annotated[list[ClosedInfo], Field(description="at most 200, the newest first")]


class Stats(Summary, Lists):
    """The document of `GET /stats`."""

    server: Server
    limits: Annotated[dict[str, int | float | str | None], Field(description="by the names of the settings")]


class StatsCollector:
    """Collects the document of one broadcaster. Owns the invariant that requests at the same time share one list.

    Args:
        broadcaster: The node that the document describes.
        pong_seconds: The longest time between a ping and its pong; None: unlimited, or unknown.

    Attributes:
        pong_seconds: The longest time between a ping and its pong; infinite: unlimited, or unknown.
    """

    def __init__(self, broadcaster: Node, *, pong_seconds: float | None = None) -> None:
        self._broadcaster = broadcaster
        self.pong_seconds = math.inf if pong_seconds is None else pong_seconds
        self._started_at = time.monotonic()
        self._lists: dict[str, Any] = {}
        self._listed_at = -_FRESH_SECONDS
        self._listing: asyncio.Task[dict[str, Any]] | None = None  # under way, for all requests meanwhile

    def summary(self) -> dict[str, Any]:
        """Returns a `Summary`. O(1)."""
        broadcaster = self._broadcaster
        outline, tally = broadcaster.inspect.outline()._asdict(), broadcaster.tally
        lag_seconds = outline.pop("loop_lag_seconds")
        totals = tuple(Totals.model_fields)
        return {
            "version": VERSION,
            "at": time.time(),
            "uptime_seconds": time.monotonic() - self._started_at,
            "state": {
                "ready": broadcaster.ready,
                "draining": broadcaster.draining,
                "loop_lag_seconds": lag_seconds,
            },
            "now": {**outline, **read_usage()._asdict()},
            "totals": {name: getattr(tally, name) for name in totals},
            "dropped": dict(tally.dropped),
            "dropped_clients": dict(tally.dropped_clients),
            "gaps": {reason.value: count for reason, count in tally.gaps.items()},
            "closed": {name_of(reason): count for reason, count in tally.closed.items()},
            "rejected": {code.value: count for code, count in tally.rejected.items()},
            "histograms": {name: _buckets(histogram) for name, histogram in tally.histograms().items()},
            "backplane": _engine(broadcaster) if broadcaster.shares else None,
        }

    async def lists(self) -> dict[str, Any]:
        """Returns `Lists`, made at most twice a second and in turns: O(clients that are behind + channels)."""
        if time.monotonic() - self._listed_at < _FRESH_SECONDS:
            return self._lists
        if self._listing is None:
            self._listing = asyncio.create_task(self._make_lists(), name="fanwise lists")
            self._listing.add_done_callback(self._listed)
        return await asyncio.shield(self._listing)  # the request that began may be cancelled first

    async def stats(self) -> dict[str, Any]:
        """Returns a `Stats`."""
        lists = await self.lists()
        writer = self._broadcaster.writer
        server = {
            "version": SERVER_VERSION,
            "python": platform.python_version(),
            "pid": os.getpid(),
            "loop": "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio",
            "gc_thresholds": list(gc.get_threshold()),
            "sweep": writer.name,
            "sweep_why": writer.why,
        }
        summary = self.summary()
        return {**summary, "server": server, "limits": self._broadcaster.inspect.limits(), **lists, "at": summary["at"]}

    def _listed(self, task: asyncio.Task[dict[str, Any]]) -> None:
        self._listing = None
        if not task.cancelled() and task.exception() is None:
            self._lists, self._listed_at = task.result(), time.monotonic()

    async def _make_lists(self) -> dict[str, Any]:
        clients = await self._broadcaster.inspect.furthest_behind(limit=LISTED)
        channels = await self._broadcaster.inspect.busiest.look(limit=LISTED)
        least = await self._broadcaster.inspect.least_forgiven(pong_seconds=self.pong_seconds)
        return {
            "at": time.time(),
            "clients": [_slow_client(self._broadcaster.inspect.client(client)) for client in clients],
            "channels": [self._busy_channel(channel, rate) for channel, rate in channels],
            "forgiven": None if least is None else self._least(*least),
            "closed_clients": [closed_info(gone) for gone in reversed(self._broadcaster.inspect.closed())],
        }

    def _busy_channel(self, channel: Channel, rate: float | None) -> dict[str, Any]:
        forgiven = self._broadcaster.inspect.forgiven(channel, pong_seconds=self.pong_seconds)
        pause = None if forgiven is None else _pause(forgiven)
        about = {"program": program_of(channel.name), "publications_per_second": rate, "forgiven": pause}
        return {**describe_channel(channel)._asdict(), **about}

    def _least(self, channel: Channel, pause: Forgiven) -> dict[str, Any]:
        limit = self._broadcaster.inspect.queue_limit(channel)
        told = None if limit is None else {**limit._asdict(), "bound": limit.bound.value}
        return {**_pause(pause), "channel": channel.name, "limit": told}


def _pause(forgiven: Forgiven) -> dict[str, Any]:
    return {**forgiven._asdict(), "bound": forgiven.bound.value}


def _slow_client(client: ClientStatistics) -> dict[str, Any]:
    return {
        **client._asdict(),
        "channels": client.channels[:_CHANNELS_SHOWN],
        "subscriptions": len(client.channels),
    }


def _engine(broadcaster: Node) -> dict[str, Any]:
    """Returns an `EngineStanding`."""
    sharing = broadcaster.sharing
    standing = sharing.standing()._asdict()
    silent = standing["silent_seconds"]
    counts = {name: getattr(sharing.counts, name) for name in COUNTED}
    return {**standing, "silent_seconds": silent if math.isfinite(silent) else None, **counts}


def _buckets(histogram: Histogram) -> dict[str, Any]:
    return {"bounds": histogram.bounds, "counts": list(histogram.counts), "sum": histogram.sum}
