"""Whether a measurement says something about the server, or about the generator. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

# A process that has no twentieth of a core left is what limits. Closed loops keep both sides below 1: each waits for
# the other at times. The C generator that this one is checked against uses 0.92 of its core on the same server.
BUSY_SHARE = 0.95
# Below this, a server that is the only one asked for more was not what limited.
SERVER_IDLE_SHARE = 0.75
GENERATOR_HIGH_SHARE = 0.85
# On a machine of its own a generator stands in line for a CPU for a few per cent of the time at most.
WAITED_SHARE = 0.25
# A server on a single CPU that has no fiftieth of it left is the limit itself, however busy the generator is beside it.
SERVER_FULL_SHARE = 0.98
# Latencies include the time in which the generator had not looked yet; from half of them on, they are its own.
LAG_SHARE = 0.5
LAG_FLOOR_NS = 5_000_000  # a lag below 5 ms is in nobody's way
LATE_FLOOR_NS = 20_000_000  # a message that leaves so much later than planned was not sent at the rate asked for


@dataclass(frozen=True, slots=True)
class Effort:
    """What one generator process did: shares of one core, over the measurement."""

    cpu_share: float
    waited_share: float = 0.0


def bottleneck(
    efforts: list[Effort],
    *,
    saturated: bool,
    server_share: float | None,
    server_cpus: int | None = None,
    lag_p99_ns: int,
    latency_p99_ns: int,
    late_p99_ns: int,
) -> str | None:
    """Why the generator, and not the server, may have set the figures; None if it did not.

    The generator was the bottleneck when one of its processes

    - was busy, or in line for a CPU, for 95 % of the time or more, unless the server runs on a single CPU and has used
      98 % of it; or
    - was in line for a CPU for 25 % of the time: something else uses the machine; or
    - saturating, was busy for 85 % while the server used less than 75 % of a core; or
    - read so late that the 99th percentile of its own lag is half of that of the latency, and more than 5 ms; or
    - sent messages later than planned, by more than 20 ms at the 99th percentile, while the server would have taken
      them.

    Args:
        efforts: Of each process of the generator.
        saturated: Whether as much was published as the window let through, instead of at a rate.
        server_share: CPU of the server in cores; None if nobody knows its process.
        server_cpus: On how many it may run; None likewise.
        lag_p99_ns: How long deliveries may have waited for the generator to read them.
        latency_p99_ns: How long deliveries took, that included.
        late_p99_ns: How much later than planned messages were sent.
    """
    full = server_cpus == 1 and server_share is not None and server_share >= SERVER_FULL_SHARE
    for number, effort in enumerate(efforts):
        name = "the generator" if len(efforts) == 1 else f"generator process {number}"
        busy = effort.cpu_share + effort.waited_share >= BUSY_SHARE and not full
        if busy or effort.waited_share >= WAITED_SHARE:
            return (
                f"{name} used {effort.cpu_share:.0%} of a core and waited for one {effort.waited_share:.0%} of the time"
            )
        idle = server_share is not None and server_share < SERVER_IDLE_SHARE
        if saturated and idle and effort.cpu_share >= GENERATOR_HIGH_SHARE:
            return f"{name} used {effort.cpu_share:.0%} of a core, the server only {server_share:.0%}"
    if lag_p99_ns > max(LAG_FLOOR_NS, LAG_SHARE * latency_p99_ns):
        return f"the generator read {lag_p99_ns / 1e6:.1f} ms late (p99), of {latency_p99_ns / 1e6:.1f} ms latency"
    if late_p99_ns > LATE_FLOOR_NS:
        return f"the generator sent {late_p99_ns / 1e6:.1f} ms later than planned (p99)"
    return None
