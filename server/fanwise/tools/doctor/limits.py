"""File descriptors and the backlog, against what the system allows."""

from __future__ import annotations

import resource

from .findings import Finding, fail, ok, warn

# What a server has open beside its clients: the event loop's own, logs, the listener, requests over HTTP.
SPARE_FILES = 64
FEW_CLIENTS = 1_000  # a limit with less room is one for desktop programs


def open_files(ceiling: int | None) -> tuple[int, int]:
    """The soft and the hard limit on descriptors of this process; "unlimited" is what the kernel allows."""
    most = ceiling or 1 << 20
    soft, hard = (most if one == resource.RLIM_INFINITY else one for one in resource.getrlimit(resource.RLIMIT_NOFILE))
    return soft, hard


def room(hard: int) -> int:
    """Returns the number of clients that there are descriptors for."""
    return max(hard - SPARE_FILES, 0)


def descriptors(*, soft: int, hard: int, ceiling: int | None, max_clients: int) -> Finding:
    """Checks whether `max_clients` have descriptors. `fanwise serve` raises the soft limit to the hard one."""
    name, clients = "file descriptors", room(hard)
    raised = f" (the soft limit of {soft:,} is raised to it)" if soft != hard else ""
    if clients >= max_clients:
        return ok(name, f"{hard:,}{raised} for at most {max_clients:,} clients")
    found = (
        f"{hard:,}{raised} have room for {clients:,} clients, max_clients is {max_clients:,}: "
        "more are refused with 503, and only probes, publishers and operators are still answered"
    )
    top = f", up to fs.nr_open, {ceiling:,}" if ceiling is not None else ""
    fix = (
        f"raise the hard limit to {max_clients + SPARE_FILES:,} (ulimit -Hn; LimitNOFILE= of a systemd unit; --ulimit "
        f"nofile= of a container{top}), or say --max-clients {max(clients, 1)}"
    )
    return fail(name, found, fix) if clients < FEW_CLIENTS else warn(name, found, fix)


def backlog(*, asked: int, somaxconn: int) -> Finding:
    """Checks whether the kernel keeps as many connections waiting as the server asks for."""
    name = "backlog"
    if somaxconn >= asked:
        return ok(name, f"{asked:,} connections may wait to be accepted (net.core.somaxconn is {somaxconn:,})")
    return warn(
        name,
        f"{somaxconn:,} connections may wait to be accepted, not the {asked:,} that are asked for: when thousands come "
        "back at once, the others are tried again by their systems, a second or more later",
        f"sysctl -w net.core.somaxconn={max(asked, 4096)}, and in /etc/sysctl.d/ for good",
    )
