"""What is said of several workers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from ...broadcaster.survey import Gathered
from ..channels import ChannelInfo
from ..clients import ClientInfo, ClosedInfo
from ..stats import BusyChannel, LeastForgiven, Server, SlowClient, Summary

Worker = Annotated[str, Field(description="name of the worker", examples=["3f9a01c4"])]
Silent = Annotated[list[str], Field(description="workers that have not answered within 300 ms")]


class WorkerInfo(BaseModel):
    """A worker."""

    worker: Worker
    host: str
    pid: int
    version: str


class WorkerFigures(WorkerInfo):
    """A worker, and how it stands."""

    ready: bool
    draining: bool
    uptime_seconds: float
    loop_lag_seconds: float
    clients: int
    behind: int
    channels: int
    rss_bytes: int
    cpu_seconds: float
    publications: Annotated[int, Field(description="publications that the engine has acknowledged to it")]
    deliveries: int
    drops: Annotated[int, Field(description="publications that its clients were not given")]


class FleetClient(ClientInfo):
    """A client of a worker."""

    worker: Worker


class FleetClosed(ClosedInfo):
    """A closed client of a worker."""

    worker: Worker


class FleetClients(BaseModel):
    """The clients of all workers, those furthest behind first, and the latest closed ones."""

    clients: list[FleetClient]
    total: Annotated[int, Field(description="number of all, also beyond `limit`")]
    closed: Annotated[list[FleetClosed], Field(description="at most 200, the newest first")]
    workers: list[WorkerInfo]
    silent: Silent


class FleetChannel(ChannelInfo):
    """A channel that is open on some workers: `clients` of all of them, and the longest log."""

    workers: Annotated[list[str], Field(description="names of the workers that have it open")]


class FleetChannels(BaseModel):
    """The channels of all workers, in the order of their names."""

    channels: list[FleetChannel]
    total: Annotated[int, Field(description="number of all; at least that many where a worker has more than `limit`")]
    workers: list[WorkerInfo]
    silent: Silent


class FleetSlowClient(SlowClient):
    """A client of a worker, with at most 8 of its channels."""

    worker: Worker


class FleetBusyChannel(BusyChannel):
    """A channel and its traffic on all workers."""

    workers: list[str]


class FleetStats(Summary):
    """The document of `GET /stats?scope=all`. Counters are sums; `totals.publications` has each publication once."""

    server: Annotated[Server, Field(description="the worker that answers")]
    limits: dict[str, int | float | str | None]
    clients: Annotated[list[FleetSlowClient], Field(description="at most 20, those furthest behind first")]
    channels: Annotated[list[FleetBusyChannel], Field(description="at most 20, the busiest first")]
    forgiven: LeastForgiven | None
    closed_clients: Annotated[list[FleetClosed], Field(description="at most 200, the newest first")]
    workers: list[WorkerFigures]
    silent: Silent


def workers_of(gathered: Gathered) -> list[dict[str, Any]]:
    """Returns a `WorkerInfo` of each worker that was asked."""
    return [
        {"worker": worker, "host": card.host, "pid": card.pid, "version": card.version}
        for worker, card in sorted(gathered.workers.items())
    ]
