from __future__ import annotations

import mmap
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from fanwise.routes.process import max_descriptors, read_usage


def test_descriptors_are_counted() -> None:
    """One more that is open is one more that is told."""
    before = read_usage().descriptors
    reading, writing = os.pipe()
    after = read_usage().descriptors
    os.close(reading)
    os.close(writing)
    assert before is not None
    assert after == before + 2
    assert before == len(list(Path("/proc/self/fd").iterdir())) - 1, "the listing's own"


def test_memory_grows_with_what_is_kept() -> None:
    """In bytes, and what is written to counts."""
    before = read_usage().rss_bytes
    with mmap.mmap(-1, 50_000_000) as kept:  # new pages; a bytearray may get those of a heap that was larger before
        kept.write(b"x" * len(kept))
        assert 40_000_000 < read_usage().rss_bytes - before < 120_000_000


def test_cpu_time_goes_on() -> None:
    """In seconds of this process."""
    before = read_usage().cpu_seconds
    while time.process_time() < before + 0.01:
        pass
    assert read_usage().cpu_seconds >= before + 0.01


def test_the_start_is_the_process_s_own() -> None:
    """In seconds since 1970, of a process that has just started."""
    print_it = "from fanwise.routes.process import start_seconds; print(start_seconds())"
    before = time.time()
    started = float(subprocess.check_output([sys.executable, "-c", print_it]))
    assert before - 0.1 < started < time.time() + 0.1


def test_the_most_descriptors_are_the_soft_limit() -> None:
    """Which follows when it is changed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert max_descriptors() == soft - 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
