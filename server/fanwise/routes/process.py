"""Memory, CPU time and descriptors of this process: a few microseconds for each reading."""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

_PAGE_BYTES: Final = resource.getpagesize()
_STAT: Final = Path("/proc/self/stat")
_STATM: Final = Path("/proc/self/statm")
_DESCRIPTORS: Final = "/proc/self/fd"
_PEAK_UNIT_BYTES: Final = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class ProcessUsage(NamedTuple):
    """Resident memory, CPU time of all threads so far, and open descriptors: None if the system counts none."""

    rss_bytes: int
    cpu_seconds: float
    descriptors: int | None


def read_usage() -> ProcessUsage:
    """Returns the usage as it is now."""
    return ProcessUsage(_rss_bytes(), time.process_time(), _descriptors())


def max_descriptors() -> float:
    """Returns the number of descriptors that the process may have open; infinity if it is unlimited."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return math.inf if soft == resource.RLIM_INFINITY else soft


def start_seconds() -> float:
    """Returns when the process started, in seconds since 1970; NaN outside of Linux."""
    try:
        ticks = int(_STAT.read_bytes().rpartition(b")")[2].split()[19])  # since boot: proc(5), field 22
    except OSError:
        return math.nan
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def _rss_bytes() -> int:
    """Returns resident bytes; outside of Linux their peak."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT_BYTES


def _descriptors() -> int | None:
    """Returns the number of open descriptors.

    Since Linux 6.2 the directory's size is their number; listing it would take milliseconds with 10,000 of them.
    """
    try:
        return os.stat(_DESCRIPTORS).st_size or None  # noqa: PTH116 - half as much work as a Path
    except OSError:
        return None
