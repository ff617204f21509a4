"""Limits of the system, read from its files: kernel settings, the machine's memory, and control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_ROOT: Final = Path("/")
_KIB: Final = 1024
_GROUPS: Final = "sys/fs/cgroup"
# Beyond `max` the process is killed, beyond `high` it hardly runs any more (cgroups(7), Documentation/cgroup-v2).
_GROUP_FILES: Final[tuple[str, ...]] = ("memory.max", "memory.high")


class MemoryLimit(NamedTuple):
    """The memory that a process may take, and the source of this limit."""

    limit_bytes: int
    source: str  # "of this machine", or "of its control group (memory.max)"


class System:
    """Reads below `root`, which is another directory in tests."""

    def __init__(self, root: Path = _ROOT) -> None:
        self._root = root

    def open_files_ceiling(self) -> int | None:
        """fs.nr_open: the ceiling of limits on descriptors; None where unknown."""
        return self._integer("proc/sys/fs/nr_open")

    def longest_backlog(self) -> int | None:
        """net.core.somaxconn: what the kernel makes of longer backlogs."""
        return self._integer("proc/sys/net/core/somaxconn")

    def tcp_bytes(self) -> int | None:
        """net.ipv4.tcp_mem, its third number: what the buffers of all TCP sockets may take together (tcp(7))."""
        try:
            return int(self._read("proc/sys/net/ipv4/tcp_mem").split()[2]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return None

    def memory_limit(self) -> MemoryLimit | None:
        """The least of the machine's memory and the limits of all groups that this process is in.

        None where both are unknown.
        """
        limits = [*self._group_limits()]
        total_bytes = self._total_bytes()
        if total_bytes is not None:
            limits.insert(0, MemoryLimit(total_bytes, "this machine"))
        return min(limits, key=lambda limit: limit.limit_bytes, default=None)

    def _total_bytes(self) -> int | None:
        try:
            for line in self._read("proc/meminfo").splitlines():
                name, _, value = line.partition(":")
                if name == "MemTotal":
                    return int(value.split()[0]) * _KIB
        except (OSError, ValueError, IndexError):
            pass
        return None

    def _group_limits(self) -> Iterator[MemoryLimit]:
        """Yields the limits of this process's group and of the groups above it (version 2 of control groups)."""
        try:
            groups = self._read("proc/self/cgroup").splitlines()
        except OSError:
            return
        path = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), "")
        # In a container the path may be that of the host, of which only the last directory, or nothing, is here.
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for depth in range(len(parts), -1, -1):
            for file in _GROUP_FILES:
                limit_bytes = self._integer("/".join([_GROUPS, *parts[:depth], file]))
                if limit_bytes is not None:
                    yield MemoryLimit(limit_bytes, f"the control group ({file})")

    def _integer(self, path: str) -> int | None:
        try:
            return int(self._read(path))
        except (OSError, ValueError):  # no such file, or "max"
            return None

    def _read(self, path: str) -> str:
        return self._root.joinpath(path).read_text()
