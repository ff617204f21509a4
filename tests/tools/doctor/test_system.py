from __future__ import annotations

import os
from pathlib import Path

import pytest

from fanwise.tools.doctor.system import MemoryLimit, System

GIB = 1 << 30
V2 = "sys/fs/cgroup"


def planted(root: Path, **files: str) -> System:
    """A machine with 8 GiB and these files."""
    for path, text in {"proc/meminfo": "MemFree: 1 kB\nMemTotal:        8388608 kB\n", **files}.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return System(root)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, MemoryLimit(8 * GIB, "this machine")),
        (
            {"proc/self/cgroup": "0::/app.slice/fan\n", f"{V2}/app.slice/fan/memory.max": f"{GIB}\n"},
            MemoryLimit(GIB, "the control group (memory.max)"),
        ),
        (
            {
                "proc/self/cgroup": "0::/app.slice/fan\n",
                f"{V2}/app.slice/fan/memory.max": "max\n",
                f"{V2}/app.slice/memory.max": f"{GIB // 2}\n",
            },
            MemoryLimit(GIB // 2, "the control group (memory.max)"),
        ),
        (
            {"proc/self/cgroup": "0::/fan\n", f"{V2}/fan/memory.max": f"{GIB}", f"{V2}/fan/memory.high": f"{GIB // 4}"},
            MemoryLimit(GIB // 4, "the control group (memory.high)"),
        ),
        (
            {"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": f"{GIB}\n"},
            MemoryLimit(GIB, "the control group (memory.max)"),
        ),
        ({"proc/self/cgroup": "4:memory:/fan\n"}, MemoryLimit(8 * GIB, "this machine")),
        ({"proc/self/cgroup": "0::/../../other\nnonsense\n:\n"}, MemoryLimit(8 * GIB, "this machine")),
    ],
    ids=[
        "no groups", "version 2", "a group above", "high below max", "the root of a container", "version 1",
        "nonsense",
    ],
)  # fmt: skip
def test_the_least_limit_counts(tmp_path: Path, files: dict[str, str], limit: MemoryLimit) -> None:
    """Of the machine, the group, and all groups above it that can be seen."""
    assert planted(tmp_path, **files).memory_limit() == limit


def test_a_path_does_not_lead_out_of_the_groups(tmp_path: Path) -> None:
    """What a process in another namespace is told begins with dots."""
    files = {"proc/self/cgroup": "0::/../../secret\n", "sys/secret/memory.max": "1", "secret/memory.max": "1"}
    assert planted(tmp_path, **files).memory_limit() == MemoryLimit(8 * GIB, "this machine")


def test_kernel_settings(tmp_path: Path) -> None:
    """The three numbers that are looked at."""
    system = planted(
        tmp_path,
        **{
            "proc/sys/fs/nr_open": "1048576\n",
            "proc/sys/net/core/somaxconn": "128\n",
            "proc/sys/net/ipv4/tcp_mem": "287901\t383868\t575802\n",
        },
    )
    assert (system.open_files_ceiling(), system.longest_backlog()) == (1_048_576, 128)
    assert system.tcp_bytes() == 575_802 * os.sysconf("SC_PAGE_SIZE")


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    """None of the files is there: nothing is known, and nothing breaks."""
    system = System(tmp_path)
    assert system.memory_limit() is None
    assert system.open_files_ceiling() is system.longest_backlog() is system.tcp_bytes() is None


def test_this_machine() -> None:
    """Has memory, at most what it says itself."""
    limit = System().memory_limit()
    assert limit is not None
    assert 0 < limit.limit_bytes <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") + (1 << 20)
