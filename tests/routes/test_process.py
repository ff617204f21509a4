from __future__ import annotations

import os
import time
from pathlib import Path

from fanwise.routes.process import read_vitals


def test_descriptors_are_counted() -> None:
    """One more that is open is one more that is told."""
    before = read_vitals().descriptors
    reading, writing = os.pipe()
    after = read_vitals().descriptors
    os.close(reading)
    os.close(writing)
    assert before is not None
    assert after == before + 2
    assert before == len(list(Path("/proc/self/fd").iterdir())) - 1, "the listing's own"


def test_memory_grows_with_what_is_kept() -> None:
    """In bytes, and what is written to counts."""
    before = read_vitals().rss_bytes
    kept = bytearray(b"x" * 50_000_000)
    assert 40_000_000 < read_vitals().rss_bytes - before < 120_000_000
    del kept


def test_cpu_time_goes_on() -> None:
    """In seconds of this process."""
    before = read_vitals().cpu_seconds
    while time.process_time() < before + 0.01:
        pass
    assert read_vitals().cpu_seconds >= before + 0.01
