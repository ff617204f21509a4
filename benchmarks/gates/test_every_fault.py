"""Planted changes are caught, each by the gate that is there for it: `tox -e bench-faults`, or `EVERY_FAULT=1`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import compare, instructions
from .conftest import BY_NAME
from .exact.__main__ import PARTS, count_both
from .exact.figures import judge
from .faults import COUNTED_FAULTS, FAULTS, CountedFault, Fault
from .trees import Trees, copy_tree, environment

NEEDS_VALGRIND = pytest.mark.skipif(not instructions.has_valgrind(), reason="valgrind is not installed")


@NEEDS_VALGRIND
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_instruction_gate_catches(fault: Fault, clean: Path, planted: Path) -> None:
    """Over the tolerance in the scenario that is there for it."""
    names = [fault.seen_in]
    verdicts = instructions.judge(instructions.count(clean, names), instructions.count(planted, names))
    assert [verdict.failed for verdict in verdicts] == [True]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.slower], ids=str)
def test_the_ab_gate_catches(fault: Fault, clean: Path, planted: Path) -> None:
    """For sure, and with as many pairs as it always takes: one that something has disturbed must not decide."""
    ratios, _ = compare.compare(clean, planted, [fault.seen_in])
    assert [one.failed for one in compare.judge(ratios)] == [True]


def test_the_ab_gate_lets_the_same_pass(clean: Path, tmp_path: Path) -> None:
    """Where nothing was planted, nothing is found."""
    ratios, _ = compare.compare(clean, copy_tree(tmp_path / "same"), ["sweep-1-to-1000", "publish-and-turn"])
    assert [one.failed for one in compare.judge(ratios)] == [False, False]


@pytest.mark.parametrize("fault", [BY_NAME["encoding per client"]], ids=str)
def test_the_ratio_gate_catches(planted: Path) -> None:
    """What makes Fanwise serve like those that it replaces."""
    command = [sys.executable, "-m", "benchmarks.gates.ratio"]
    done = subprocess.run(command, cwd=planted, env=environment(planted), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED: tutorial loop, 1,000 clients, 64 at once" in done.stdout


@pytest.mark.parametrize("fault", COUNTED_FAULTS, ids=str)
def test_the_exact_gate_catches(fault: CountedFault, clean: Path, planted: Path) -> None:
    """In the figure that is there for it."""
    (part,) = [part for part in PARTS if part.name == fault.part]
    verdicts = judge(part, *count_both(part, Trees(clean, planted)))
    assert fault.figure in [verdict.name for verdict in verdicts if verdict.failed]
