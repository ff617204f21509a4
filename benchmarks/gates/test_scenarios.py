from __future__ import annotations

import pytest

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
