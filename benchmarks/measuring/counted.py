"""pytest in a process in which clocks do not depend on the machine: what valgrind runs."""

from __future__ import annotations

import sys

import pytest

from benchmarks import steady_clock


class SteadyClocks:
    """A plugin of pytest, whose own modules have the clocks of the machine, and the server's have others."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        """Comes before anything of this repository is imported."""
        steady_clock.install()


if __name__ == "__main__":
    timer = "--benchmark-timer=timeit.default_timer"  # which has a name; nothing is measured with it
    sys.exit(pytest.main([*sys.argv[1:], timer], plugins=[SteadyClocks()]))
