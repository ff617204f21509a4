"""Counts one part of the exact gate, with the server of one tree.

    python -m benchmarks.gates.exact.counting PART ROOT

Prints one line of JSON: {figure: how many}. Parts that need no real time get a clock of their own before the server is
imported: its modules take `time.monotonic` for their default clock.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from .clock import CLOCK

ON_A_CLOCK = {"latency", "wakeups"}


def main(part: str, root: str) -> None:
    """Prints the figures."""
    if part in ON_A_CLOCK:
        CLOCK.install()
    module = import_module(f"{__package__}.{part}")
    server = import_module("fanwise")
    if not Path(server.__file__ or "").is_relative_to(root):
        raise AssertionError(f"{server.__file__} is not in {root}")
    sys.stdout.write(json.dumps(module.count(root)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
