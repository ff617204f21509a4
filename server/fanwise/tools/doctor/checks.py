"""All checks of a server and of the machine, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..humanize import printable, span
from ..remote import ForeignError, KeyRefusedError, Remote
from . import backpressure, exposure, handshake, keepalive, limits, memory
from .backpressure import Measured
from .findings import Finding
from .probe import Probe
from .report import Report
from .system import System

# What a socket holds that has stopped, beside what was not sent: the last write, with the kernel's own books.
_LAST_WRITE_BYTES = 65_536
SEVERAL = "the rest: each answer would be that of another process"
UNSEEN = (
    "descriptors, backlog, memory and keep-alive: they cannot be seen from outside (run this where the server runs)"
)
_UNKNOWN_EXPOSURE = "exposure: it asks for no key, and whether others reach it cannot be seen from its own machine"
_TOO_SMALL = "backpressure: it takes messages of 1,024 bytes, max_message_bytes is less"
_NOT_PUBLISHED = "backpressure: it takes publishing up to 64 MB to a server that is not on this machine (--publish)"


def machine_limits(report: Report, system: System, *, max_clients: int, backlog: int) -> int:
    """Descriptors and backlog; returns how many clients there can be."""
    ceiling, somaxconn = system.open_files_ceiling(), system.longest_backlog()
    soft, hard = limits.open_files(ceiling)
    report.findings.append(limits.descriptors(soft=soft, hard=hard, ceiling=ceiling, max_clients=max_clients))
    if somaxconn is None:
        report.left_out.append("backlog: this system does not tell net.core.somaxconn")
    else:
        report.findings.append(limits.backlog(asked=backlog, somaxconn=somaxconn))
    return min(max_clients, limits.room(hard))


def describe(remote: Remote) -> str:
    """Returns a sentence about the server. Raises a RemoteError if there is no answer."""
    with _reading(remote):
        document = remote.stats()
        server, clients = document["server"], int(document["now"]["clients"])
        name = f"Fanwise {printable(server['version'])} on Python {printable(server['python'])}"
        return f"{remote.url}: {name}, up {span(document['uptime_seconds'])}, {clients:,} clients"


def check_exposure(report: Report, remote: Remote, *, loopback: bool) -> None:
    """Checks whether a running server asks for a key, as far as seen from here."""
    try:
        Remote(remote.url, context=remote.context).stats()
    except KeyRefusedError:
        key = True
    else:
        key = False
    if loopback and not key:
        report.left_out.append(_UNKNOWN_EXPOSURE)
    else:
        found = exposure.exposure(address=remote.authority, key=key, loopback=False, problems=())
        report.findings.append(found)


def check_processes(report: Report, remote: Remote) -> bool:
    """Returns whether a running server is one, of one process or of workers behind one engine.

    Raises a RemoteError without a usable answer.
    """
    with _reading(remote):
        pids = handshake.look_at_processes(remote)
        told = remote.stats(everywhere=True)
        if "workers" in told:
            known = [int(worker["pid"]) for worker in told["workers"]]
            found = exposure.fleet(pids, known, [str(name) for name in told["silent"]])
        else:
            found = exposure.processes(pids)
    report.findings.append(found)
    return not found.fix


def check_server(report: Report, remote: Remote, *, publish: bool) -> Measured | None:
    """Makes all checks of a running server; returns its measured backpressure, or None.

    Raises:
        RemoteError: The server does not answer, or not as a Fanwise server.
    """
    probe = Probe(remote)
    with _reading(remote):
        document = remote.stats()
        report.findings.append(handshake.event_loop(str(document["server"]["loop"])))
        told = document["server"]
        report.findings.append(handshake.sweeps(str(told["sweep"]), str(told["sweep_why"])))
        report.findings.append(
            handshake.collector([int(threshold) for threshold in document["server"]["gc_thresholds"]])
        )
        _connections(report, probe)
        if not publish:
            report.left_out.append(_NOT_PUBLISHED)
            return None
        message_bytes = min(backpressure.MESSAGE_BYTES, int(document["limits"]["max_message_bytes"]))
        if message_bytes < backpressure.LEAST_MESSAGE_BYTES:
            report.left_out.append(_TOO_SMALL)
            return None
        measured = backpressure.measure(probe, message_bytes=message_bytes)
        if isinstance(measured, Finding):
            report.findings.append(measured)
            return None
        report.findings.append(backpressure.judge(measured))
        return measured


def check_keep_alive(
    report: Report, measured: Measured | None, *, ping_seconds: float, pong_seconds: float, skips: bool
) -> None:
    """Checks how slow a reader may be, given the measured bytes in front of a ping."""
    if measured is None:
        report.left_out.append("keep-alive: what hides in front of a ping could not be measured")
        return
    found = keepalive.slow_reader(
        hidden_bytes=measured.hidden_bytes, ping_seconds=ping_seconds, pong_seconds=pong_seconds, skips=skips
    )
    report.findings.append(found)


def machine_memory(
    report: Report,
    system: System,
    *,
    clients: int,
    process_bytes: int,
    memory_bytes: int,
    unsent_bytes: int,
    measured: Measured | None,
    processes: int = 1,
    **bounds: int,
) -> None:
    """The most that the settings may take; `bounds` are those of queues and logs, as `memory.one_channel` has them.

    `processes` share the memory: workers, and an engine that takes as much as one of them.
    """
    limit, tcp_bytes = system.memory_limit(), system.tcp_bytes()
    if limit is None:
        report.left_out.append("memory: this system does not tell how much there is")
        return
    if processes > 1:
        share = f"{limit.source}, shared by {processes} processes"
        limit = limit._replace(limit_bytes=limit.limit_bytes // processes, source=share)
        tcp_bytes = None if tcp_bytes is None else tcp_bytes // processes
    demand = memory.Demand(process_bytes=process_bytes, memory_bytes=memory_bytes, clients=clients)
    client_bytes = unsent_bytes + _LAST_WRITE_BYTES
    if measured is not None and measured.reader_bytes is not None:
        client_bytes = max(measured.kernel_bytes - measured.reader_bytes, 0)
    report.findings += [
        memory.process(demand, limit),
        memory.one_channel(limit, memory_bytes=memory_bytes, **bounds),
        memory.kernel(demand, limit, client_bytes=client_bytes, tcp_bytes=tcp_bytes),
    ]


def _connections(report: Report, probe: Probe) -> None:
    path, stream_path, accepted = handshake.look_at_clients(probe)
    report.findings += [
        handshake.fast_path(path),
        handshake.event_streams(stream_path),
        handshake.deflate(accepted, path),
    ]


@contextmanager
def _reading(remote: Remote) -> Iterator[None]:
    """Turns a missing or odd field of an answer into a ForeignError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:  # also a number too large
        said = f"{type(error).__name__}: {printable(error, most=200)}"
        raise ForeignError(remote.url, f"its answers look different ({said})") from error
