"""Clocks that do not depend on how fast the machine is: what looks at them takes the same steps in every run.

Work that gives the event loop back after some milliseconds does so at another step in every run, and at many more of
them where an emulated processor is fifty times as slow.
"""

from __future__ import annotations

import time
from itertools import count, repeat

BEGIN_SECONDS = 1000.0
LOOK_SECONDS = 1e-9  # that pass with each look: what waits for a time comes to its end, and no turn of the loop does
UNIX_SECONDS = 1_700_000_000


def install() -> None:
    """Gives this process such clocks. To be called before the server is imported, whose modules take them as defaults.

    They are made of iterators, which cost about as many instructions as the real ones.
    """
    time.monotonic = time.perf_counter = count(BEGIN_SECONDS, LOOK_SECONDS).__next__
    time.monotonic_ns = time.perf_counter_ns = count(round(BEGIN_SECONDS * 1e9)).__next__
    time.time = repeat(float(UNIX_SECONDS)).__next__
    time.time_ns = repeat(UNIX_SECONDS * 10**9).__next__
