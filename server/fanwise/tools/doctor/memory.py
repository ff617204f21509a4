"""The most memory that the settings may take, against the memory of the machine."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..humanize import size
from .findings import Finding, fail, ok, warn
from .system import MemoryLimit

# What a connection that is up to date takes in the process: 2.8 to 4.2 KB on one channel, 2 KB for each further one.
CONNECTION_BYTES: Final = 6_000
SOCKET_BYTES: Final = 2_500  # of the kernel, for an idle one
PUBLICATION_BYTES: Final = 640  # of objects beside the payload (`channel.PUBLICATION_BYTES`)
ENCODINGS: Final = 2  # a payload is kept as it came, and as at least one kind of client gets it
_ENOUGH: Final = 0.7  # of the limit: the rest is for what the interpreter and its allocator do not give back
_CHANNELS: Final = 32  # with full logs: what a fix makes room for
_MIB: Final = 1 << 20
_LEAST_BYTES: Final = 16 * _MIB  # for logs and connections; with less than that there is no sense in settings


class Demand(NamedTuple):
    """The memory that a server may take, by its settings.

    Attributes:
        process_bytes: Bytes of a server that has just started.
        memory_bytes: Bound on logs and transports together, enforced four times a second.
        clients: The most clients, by `max_clients` or by descriptors.
    """

    process_bytes: int
    memory_bytes: int
    clients: int

    @property
    def connections_bytes(self) -> int:
        """Bytes of all connections."""
        return self.clients * CONNECTION_BYTES

    @property
    def total_bytes(self) -> int:
        """Bytes of process, logs and connections."""
        return self.process_bytes + self.memory_bytes + self.connections_bytes


def channel_bytes(*, messages: int, payload_bytes: int) -> int:
    """Returns the bytes of one channel with a full log."""
    return ENCODINGS * payload_bytes + PUBLICATION_BYTES * messages


def process(demand: Demand, limit: MemoryLimit) -> Finding:
    """Checks whether the most that the settings allow fits into memory."""
    name, share = "memory", demand.total_bytes / limit.limit_bytes
    found = (
        f"at most {size(demand.total_bytes)}, {share:.0%} of the {size(limit.limit_bytes)} of {limit.source}: "
        f"{size(demand.memory_bytes)} logs and transports (memory_bytes), {size(demand.connections_bytes)} for "
        f"{demand.clients:,} connections, {size(demand.process_bytes)} the process itself"
    )
    if share <= _ENOUGH:
        return ok(name, found)
    return (fail if share > 1 else warn)(name, found, _smaller(demand, limit.limit_bytes))


def one_channel(
    limit: MemoryLimit,
    *,
    memory_bytes: int,
    queue_messages: int,
    queue_bytes: int,
    history_messages: int,
    history_bytes: int,
) -> Finding:
    """Checks whether a queue, or the history, of a single channel is out of proportion."""
    name = "queue"
    needed = channel_bytes(
        messages=max(queue_messages, history_messages), payload_bytes=max(queue_bytes, history_bytes)
    )
    found = f"a channel with a full log takes {size(needed)} (queue {size(queue_bytes)}, history {size(history_bytes)})"
    share = min(limit.limit_bytes, memory_bytes) / _CHANNELS
    least = max(int(share / ENCODINGS) // _MIB, 1) * _MIB
    few = max(int(share / PUBLICATION_BYTES), 1)
    asked = [("--queue-bytes", queue_bytes, least), ("--history-bytes", history_bytes, least)]
    asked += [("--queue-messages", queue_messages, few), ("--history-messages", history_messages, few)]
    flags = " ".join(f"{flag} {most}" for flag, value, most in asked if value > most)
    fix = f"say {flags}, or less: so that {_CHANNELS} channels find room"
    if min(needed, memory_bytes) > limit.limit_bytes:
        return fail(name, f"{found}: more than the {size(limit.limit_bytes)} of {limit.source}", fix)
    if needed > memory_bytes:
        short = f"{found}: more than memory_bytes, {size(memory_bytes)}, so that logs are cut before a queue is full"
        return warn(name, short, fix)
    if needed > limit.limit_bytes / 2:
        return warn(name, f"{found}: more than half of the {size(limit.limit_bytes)} of {limit.source}", fix)
    return ok(name, f"{found}; memory_bytes holds {memory_bytes // needed:,} of them, then history goes")


def kernel(demand: Demand, limit: MemoryLimit, *, client_bytes: int, tcp_bytes: int | None) -> Finding:
    """Checks the kernel's memory if all clients stop reading at once: beside the process, for `stall_seconds`."""
    name = "kernel memory"
    each = client_bytes + SOCKET_BYTES
    total = demand.clients * each
    capped = tcp_bytes is not None and total > tcp_bytes
    taken = min(total, tcp_bytes) if tcp_bytes is not None else total
    found = f"{size(total)} in sockets if all {demand.clients:,} clients stop reading at once, {size(each)} each"
    if capped and tcp_bytes is not None:
        found += f"; the kernel gives all TCP together {size(tcp_bytes)} (net.ipv4.tcp_mem)"
    if demand.total_bytes + taken <= limit.limit_bytes:
        return ok(name, found)
    return warn(
        name,
        f"{found}: with the process's own {size(demand.total_bytes)} more than the {size(limit.limit_bytes)} of "
        f"{limit.source}",
        "lower --max-clients, --socket-unsent-bytes or --memory-bytes",
    )


def _smaller(demand: Demand, limit_bytes: int) -> str:
    """Returns values that fit: at most those of the settings, as flags, in the memory that there is."""
    budget = int(limit_bytes * _ENOUGH) - demand.process_bytes
    if budget < _LEAST_BYTES:
        least = (demand.process_bytes + 2 * _LEAST_BYTES) / _ENOUGH
        return f"give it more memory: {size(least)} is the least that makes sense"
    logs = min(demand.memory_bytes, budget // 2)
    clients = min(demand.clients, (budget - logs) // CONNECTION_BYTES)
    logs = min(demand.memory_bytes, (budget - clients * CONNECTION_BYTES) // _MIB * _MIB)
    flags = []
    if logs < demand.memory_bytes:
        flags.append(f"--memory-bytes {logs}")
    if clients < demand.clients:
        flags.append(f"--max-clients {clients}")
    asked = f"{size(demand.total_bytes / _ENOUGH)} of memory"
    return f"say {' '.join(flags)} (other shares do as well), or give it {asked}"
