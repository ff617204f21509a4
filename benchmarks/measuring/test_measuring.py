from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from . import callgrind, plugin
from .cpu_ratio import NOMINAL_SECONDS, quietest
from .fixture import CALLS, LEAST_ROUNDS, WARM, WARM_CALLS, SteadyFixture


class Options:
    """A `pytest.Config` with some options set."""

    def __init__(self, **options: object) -> None:
        self._options = options

    def getoption(self, name: str) -> object:
        return self._options.get(name)


def way(**options: object) -> str:
    return plugin.way_of(Options(**options))  # type: ignore[arg-type]


def test_what_is_compared_is_counted_where_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only looked at shows times as they are; an option says otherwise."""
    monkeypatch.setattr(callgrind, "missing", str)
    assert way(benchmark_enable=True) == "time"
    assert way(benchmark_autosave="tag") == way(benchmark_compare=True) == "instructions"
    assert way(benchmark_autosave="tag", benchmark_by="cpu") == "cpu"
    monkeypatch.setattr(callgrind, "missing", lambda: "valgrind is not installed")
    assert way(benchmark_save="name") == "cpu"


def saved(**facts: str) -> dict[str, Any]:
    return {"machine_info": {plugin.FACTS: plugin.facts("instructions") | facts}}


def test_runs_of_one_kind_are_compared() -> None:
    """The same way, build and libraries."""
    plugin.pytest_benchmark_compare_machine_info({plugin.FACTS: plugin.facts("instructions")}, saved())


def test_runs_of_two_kinds_are_not_compared() -> None:
    """The message names what is different, and what it was."""
    here = {plugin.FACTS: plugin.facts("instructions")}
    with pytest.raises(pytest.UsageError, match=r"of another measured by 'cpu', here 'instructions'; orjson '1\.0'"):
        plugin.pytest_benchmark_compare_machine_info(here, saved(**{"measured by": "cpu", "orjson": "1.0"}))
    with pytest.raises(pytest.UsageError, match="does not say how it was measured"):
        plugin.pytest_benchmark_compare_machine_info(here, {"machine_info": {}})


def test_the_quietest_rounds_are_kept_in_units_of_the_load() -> None:
    """On a machine of half the speed everything takes twice as long, and the same is said."""
    rounds = [(0.010, 0.002), (0.004, 0.002), (0.030, 0.009), (0.005, 0.002)]
    slow = [(2 * took, 2 * loaded) for took, loaded in rounds]
    assert quietest(rounds, 2) == pytest.approx([0.004 / 0.002 * NOMINAL_SECONDS, 0.005 / 0.002 * NOMINAL_SECONDS])
    assert quietest(slow, 2) == pytest.approx(quietest(rounds, 2))


def test_nothing_is_counted_outside_of_valgrind(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """The request does nothing there, and the counter says so."""
    if callgrind.missing():
        pytest.skip(callgrind.missing())
    monkeypatch.setenv(callgrind.FOLDER, str(tmp_path))
    with pytest.raises(RuntimeError, match="does not run under valgrind"):
        callgrind.Counter()


class Tally:
    """A counter for which each call of a benchmark takes 400,000 instructions, and what is around 7."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> None:
        self.calls += 1

    def count(self, act: Callable[[], object]) -> int:
        before = self.calls
        act()
        return 7 + 400_000 * (self.calls - before)


@pytest.mark.parametrize(("saved", "calls"), [({}, 4), ({WARM: 5, CALLS: 16}, 16)], ids=["first", "compared"])
def test_a_benchmark_is_called_as_often_as_in_the_saved_run(
    benchmark: BenchmarkFixture, saved: dict[str, int], calls: int
) -> None:
    """Calls differ where logs let go of something now and then; what is around them is not counted."""
    tally = Tally()
    counted: list[Any] = []
    vars(benchmark).update(counter=tally, saved=saved, disabled=False, _add_stats=counted.append)
    benchmark.__class__ = SteadyFixture
    benchmark(tally.call)
    assert tally.calls == saved.get(WARM, WARM_CALLS) + 1 + calls + 1  # one is counted to choose, one is its answer
    assert (benchmark.extra_info[CALLS], counted[0].iterations) == (calls, calls)
    assert counted[0].stats.min == pytest.approx(400_000e-9)


@pytest.mark.parametrize("counter", [Tally(), None], ids=["counted", "timed"])
def test_a_call_gets_what_its_setup_returns(benchmark: BenchmarkFixture, counter: Tally | None) -> None:
    """As pytest-benchmark has it: each call has its own setup, the one for the answer, too."""
    numbers = iter(range(1 << 20))
    given: list[int] = []
    vars(benchmark).update(counter=counter, disabled=False, _add_stats=lambda _: None)
    benchmark.__class__ = SteadyFixture
    assert benchmark.pedantic(given.append, setup=lambda: ((next(numbers),), {})) is None
    assert given == list(range(len(given)))
    assert len(given) > LEAST_ROUNDS
