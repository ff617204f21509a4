from __future__ import annotations

import sys
from pathlib import Path

import pytest

from . import instructions
from .instructions import (
    Baseline,
    Verdict,
    facts_here,
    follow,
    gate,
    judge,
    read_baseline,
    report,
    why_not,
    write_baseline,
)
from .scenarios import load_all
from .skipping import SkippedError

NEEDS_VALGRIND = pytest.mark.skipif(not instructions.has_valgrind(), reason="valgrind is not installed")


def test_one_per_cent_is_tolerated_and_no_more() -> None:
    """More fails; much less passes, and asks for the baseline to follow."""
    same, more, less = judge({"a": 10_000, "b": 10_000, "c": 10_000}, {"a": 10_100, "b": 10_101, "c": 9_899})
    assert (same.failed, same.improved) == (False, False)
    assert (more.failed, more.improved) == (True, False)
    assert (less.failed, less.improved) == (False, True)
    assert str(more).split() == ["b", "10,000", "10,101", "+1.01", "%", "MORE"]


def test_scenarios_that_are_not_in_both_fail() -> None:
    """A new one has to get its baseline, and one that is gone must leave it."""
    assert [(one.name, one.failed) for one in judge({"gone": 1}, {"new": 1})] == [("new", True), ("gone", True)]
    assert str(Verdict("new", None, 1)).split(maxsplit=1)[1] == "is not in the baseline: --refresh"


def test_a_report_ends_in_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit status says the same."""
    assert report(judge({"a": 100}, {"a": 100})) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("passed: ")
    assert report(judge({"a": 100}, {"a": 200})) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAILED: 1 of 1")


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    """One line per count, so that a review sees what has changed."""
    path = tmp_path / "cpython-3.11.json"
    assert read_baseline(path) is None
    write_baseline(path, Baseline({"python": "3.11.7"}, {"a": 1, "b": 2}))
    assert read_baseline(path) == Baseline({"python": "3.11.7"}, {"a": 1, "b": 2})
    assert '    "a": 1,\n    "b": 2\n' in path.read_text()


def test_a_refresh_changes_what_has_moved_and_nothing_else() -> None:
    """The diff in review is about the change, not about noise; on another interpreter all of it is new."""
    facts, was = {"python": "3.11.7"}, {"same": 10_000, "slower": 10_000, "faster": 10_000, "gone": 10_000}
    counted = Baseline(facts, {"same": 10_050, "slower": 10_051, "faster": 9_949, "new": 7})
    assert follow(Baseline(facts, was), counted).counts == {"same": 10_000, "slower": 10_051, "faster": 9_949, "new": 7}
    assert follow(Baseline({"python": "3.11.8"}, was), counted) == counted
    assert follow(None, counted) == counted


@NEEDS_VALGRIND
def test_another_interpreter_is_not_held_against_the_baseline() -> None:
    """The sentence names what is different."""
    here = facts_here()
    assert here["python"] == sys.version
    assert why_not(Baseline(here, {})) is None
    problem = why_not(Baseline({**here, "orjson": "1.0"}, {}))
    assert problem == f"the baseline was counted with another orjson '1.0', here {here['orjson']!r}"
    assert "there is no cpython-" in (why_not(None) or "")


@pytest.mark.parametrize("path", sorted(instructions.BASELINES.glob("*.json")), ids=lambda path: path.stem)
def test_the_baseline_has_every_scenario(path: Path) -> None:
    """Whoever adds a scenario, or takes one away, refreshes it."""
    baseline = read_baseline(path)
    assert baseline is not None
    assert list(baseline.counts) == [scenario.name for scenario in load_all()]


def test_without_valgrind_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is asked to install it for a run at a desk. In CI that is a failure, unless it was asked for."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BENCH_MAY_SKIP", raising=False)
    assert gate(names=[], refresh=False, against=None) == 0
    assert capsys.readouterr().out == "skipped: valgrind is not installed, and nothing else counts instructions.\n"
    monkeypatch.setenv("CI", "true")
    with pytest.raises(SkippedError, match="valgrind is not installed"):
        gate(names=[], refresh=False, against=None)
    assert gate(names=[], refresh=False, against=None, may_skip=True) == 0
    monkeypatch.setenv("BENCH_MAY_SKIP", "1")
    assert gate(names=[], refresh=False, against=None) == 0


@NEEDS_VALGRIND
def test_without_a_fitting_baseline_both_sides_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A patch release of a library puts no gate to sleep."""
    path = tmp_path / "cpython-3.11.json"
    write_baseline(path, Baseline({**facts_here(), "orjson": "1.0"}, {"append": 100}))
    monkeypatch.setattr(instructions, "baseline_path", lambda: path)
    monkeypatch.setattr(instructions, "default_revision", lambda: "abc123")
    asked: list[str] = []

    def count_revision(revision: str, _names: list[str]) -> tuple[dict[str, int], dict[str, int]]:
        asked.append(revision)
        return {"append": 100}, {"append": 150}

    monkeypatch.setattr(instructions, "count_revision", count_revision)
    assert gate(names=[], refresh=False, against=None) == 1
    assert asked == ["abc123"]
    assert "another orjson '1.0'" in capsys.readouterr().out
