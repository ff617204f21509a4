"""pytest in a process in which clocks do not depend on the machine: what valgrind runs."""

from __future__ import annotations

import sys

import pytest  # with the clocks of the machine, which tell how long the run has taken

from benchmarks import steady_clock

if __name__ == "__main__":
    steady_clock.install()
    sys.exit(pytest.main())
