"""The verdict on a measurement: whether the generator, and not the server, set its figures. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

# A process that has no twentieth of a core left is what limits. Closed loops keep both sides below 1: each waits for
# the other at times. The C generator used for comparison takes 0.92 of its core on one server.
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
LAG_FLOOR_NS = 5_000_000  # a lag below 5 ms does not matter
LATE_FLOOR_NS = 20_000_000  # a message that leaves so much later than planned was not sent at the rate asked for


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort of one generator process: shares of one core, over the measurement."""

    cpu_share: float
    waited_share: float = 0.0

    def is_exhausted(self, *, beside_full_server: bool) -> bool:
        """Returns whether the process had no CPU left, or waited for one that others used."""
        busy = self.cpu_share + self.waited_share >= BUSY_SHARE and not beside_full_server
        return busy or self.waited_share >= WAITED_SHARE


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
    """Returns why the generator, and not the server, may have set the figures; None if it did not.

    The causes are an exhausted process, a busy one beside an idle server, and delays of the generator's own.

    Args:
        efforts: Of each process of the generator.
        saturated: Whether the window, and not a rate, decided how much was published.
        server_share: CPU of the server in cores; None when its process is unknown.
        server_cpus: How many CPUs the server may use; None when its process is unknown.
        lag_p99_ns: How long deliveries may have waited for the generator to read them.
        latency_p99_ns: How long deliveries took, `lag_p99_ns` included.
        late_p99_ns: How much later than planned messages were sent.
    """
    full = server_cpus == 1 and server_share is not None and server_share >= SERVER_FULL_SHARE
    idle = saturated and server_share is not None and server_share < SERVER_IDLE_SHARE
    for number, effort in enumerate(efforts):
        name = "the generator" if len(efforts) == 1 else f"generator process {number}"
        if effort.is_exhausted(beside_full_server=full):
            waited = f"waited for one {effort.waited_share:.0%} of the time"
            return f"{name} used {effort.cpu_share:.0%} of a core and {waited}"
        if idle and effort.cpu_share >= GENERATOR_HIGH_SHARE:
            return f"{name} used {effort.cpu_share:.0%} of a core, the server only {server_share:.0%}"
    return lateness(lag_p99_ns=lag_p99_ns, latency_p99_ns=latency_p99_ns, late_p99_ns=late_p99_ns)


def lateness(*, lag_p99_ns: int, latency_p99_ns: int, late_p99_ns: int) -> str | None:
    """Returns why the generator's own delays may have set the figures; None if they did not."""
    if lag_p99_ns > max(LAG_FLOOR_NS, LAG_SHARE * latency_p99_ns):
        return f"the generator read {lag_p99_ns / 1e6:.1f} ms late (p99), of {latency_p99_ns / 1e6:.1f} ms latency"
    if late_p99_ns > LATE_FLOOR_NS:
        return f"the generator sent {late_p99_ns / 1e6:.1f} ms later than planned (p99)"
    return None
