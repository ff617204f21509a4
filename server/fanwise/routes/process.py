"""What the operating system says of this process. Each reading is a few microseconds, whatever the process has open."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

_PAGE_BYTES: Final = resource.getpagesize()
_STATM: Final = Path("/proc/self/statm")
_DESCRIPTORS: Final = "/proc/self/fd"
_PEAK_UNIT_BYTES: Final = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class Vitals(NamedTuple):
    """Resident memory, CPU time of all threads so far, and open file descriptors: None where nobody counts them."""

    rss_bytes: int
    cpu_seconds: float
    descriptors: int | None


def read_vitals() -> Vitals:
    """As they are now."""
    return Vitals(_rss_bytes(), time.process_time(), _descriptors())


def _rss_bytes() -> int:
    """Outside of Linux the most that it has been."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT_BYTES


def _descriptors() -> int | None:
    """Since Linux 6.2 the directory's size is their number; listing it would take milliseconds with 10,000 of them."""
    try:
        return os.stat(_DESCRIPTORS).st_size or None  # noqa: PTH116 - half as much work as a Path
    except OSError:
        return None
