"""The reports of a worker to the conductor, from time to time and at the end: plain data, sent between processes."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...load.behaviour import Behaviour
from ...load.histogram import Histogram
from .receiver import Tally

MAX_DROPS = 10_000  # that are reported one by one; beyond, they are only counted


@dataclass(frozen=True, slots=True)
class Drop:
    """A connection that the server (or the network) ended: when, in seconds of the measurement, and the cause.

    The cause for a client that does not read is found when its connection is cut, or at the end. `address` is the
    client's, "127.0.0.1:36836"; empty if unknown.
    """

    at_seconds: float
    kind: Behaviour
    cause: str
    address: str = ""


@dataclass(slots=True)
class Snapshot:
    """One worker's state. Counters run from the start; latencies, lag, lateness and drops are new since the last one.

    Attributes:
        undelivered: At the end: messages that healthy clients still waited for, summed over them.
        waited_seconds: At the end: how long this process stood in line for a CPU that others used; 0 if unknown.
        notes: What the server refused or the connecting met: {sentence: times}.
    """

    worker: int
    at_ns: int
    tallies: dict[Behaviour, Tally]
    published: dict[int, int]
    open_clients: dict[Behaviour, int]
    drops: list[Drop]
    drop_counts: dict[tuple[Behaviour, str], int]
    lag: Histogram
    late: Histogram
    cpu_seconds: float
    waited_seconds: float
    undelivered: int = 0
    flaps: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    server_cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """A worker has reached a phase and waits for the order to go on: "connected", "warm", "drained", "finished"."""

    worker: int
    name: str
    problem: str = ""
