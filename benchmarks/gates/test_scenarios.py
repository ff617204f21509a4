from __future__ import annotations

import time

import pytest

from benchmarks import steady_clock
from tests.support.loggers import loggers_as_they_were

from .scenarios import Scenario, load_all

SCENARIOS = list(load_all())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_step_does_what_it_says_and_leaves_no_trace(scenario: Scenario) -> None:
    """The same, time after time: what is counted with many steps and with few is the same work."""
    with loggers_as_they_were(), scenario.build() as step:
        assert [step() for _ in range(5)] == [scenario.does] * 5


def test_names_are_unique() -> None:
    """Counts and ratios are kept by name."""
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)


def test_clocks_pass_by_looks_and_not_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a time comes to its end, and a turn of a millisecond lasts for a million looks."""
    for name in ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns"):
        monkeypatch.setattr(time, name, getattr(time, name))  # put back afterwards
    steady_clock.install()
    begin = time.monotonic()
    assert time.perf_counter() - begin == pytest.approx(steady_clock.LOOK_SECONDS, rel=1e-3)
    assert time.monotonic_ns() < time.perf_counter_ns()
    assert time.time() == time.time()
