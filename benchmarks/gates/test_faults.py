"""The guard is guarded: planted changes are caught, each by the gate that is there for it.

By default one change per gate; `EVERY_FAULT=1` (or `tox -e bench-faults`) plants them all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import compare, instructions
from .faults import FAULTS, Fault, FaultError, plant
from .trees import copy_tree, environment

NEEDS_VALGRIND = pytest.mark.skipif(not instructions.has_valgrind(), reason="valgrind is not installed")
BY_NAME = {fault.name: fault for fault in FAULTS}


def chosen(*names: str, among: list[Fault]) -> pytest.MarkDecorator:
    """The faults called so, or all of them."""
    faults = among if "EVERY_FAULT" in os.environ else [BY_NAME[name] for name in names]
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.name)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("clean") / "tree")


@pytest.fixture
def planted(fault: Fault, tmp_path: Path) -> Path:
    root = copy_tree(tmp_path / "tree")
    plant(fault, root)
    return root


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_fits_the_code(planted: Path, fault: Fault) -> None:
    """It can be planted, and what comes of it is Python."""
    for edit in fault.edits:
        compile((planted / "server" / "fanwise" / edit.file).read_text(), edit.file, "exec")


def test_a_fault_that_does_not_fit_says_so(clean: Path) -> None:
    """Rather than to plant nothing, and to see nothing caught."""
    edit = FAULTS[0].edits[0]._replace(old="what never stood there")
    with pytest.raises(FaultError, match=r"sweep\.py has 0 times, not once:\nwhat never stood there"):
        plant(FAULTS[0]._replace(edits=(edit,)), clean)


@pytest.mark.slow
@NEEDS_VALGRIND
@chosen("10 % more work in the sweep", among=list(FAULTS))
def test_the_instruction_gate_catches(fault: Fault, clean: Path, planted: Path) -> None:
    """Over the tolerance in the scenario that is there for it."""
    names = [fault.seen_in]
    verdicts = instructions.judge(instructions.count(clean, names), instructions.count(planted, names))
    assert [verdict.failed for verdict in verdicts] == [True]


@pytest.mark.slow
@chosen("an extra hop before the sweep", among=[fault for fault in FAULTS if fault.slower])
def test_the_ab_gate_catches(fault: Fault, clean: Path, planted: Path) -> None:
    """For sure, and with as many pairs as it always takes: one that something has disturbed must not decide."""
    ratios, _ = compare.compare(clean, planted, [fault.seen_in])
    assert [one.failed for one in compare.judge(ratios)] == [True]


@pytest.mark.slow
def test_the_ab_gate_lets_the_same_pass(clean: Path, tmp_path: Path) -> None:
    """Where nothing was planted, nothing is found."""
    ratios, _ = compare.compare(clean, copy_tree(tmp_path / "same"), ["sweep-1-to-1000", "publish-and-turn"])
    assert [one.failed for one in compare.judge(ratios)] == [False, False]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [BY_NAME["encoding per client"]], ids=lambda fault: fault.name)
def test_the_ratio_gate_catches(planted: Path) -> None:
    """What makes Fanwise serve like those that it replaces."""
    command = [sys.executable, "-m", "benchmarks.gates.ratio"]
    done = subprocess.run(command, cwd=planted, env=environment(planted), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED: tutorial loop, 1,000 clients, 64 at once" in done.stdout
