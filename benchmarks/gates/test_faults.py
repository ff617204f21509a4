"""The guard is guarded: what can be planted is planted, and what one look can see is seen.

Each change, and the gate that catches it, is in `test_every_fault.py`, which `tox -e bench-faults` runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from . import compare
from .conftest import BY_NAME
from .faults import FAULTS, Fault, FaultError, plant


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_fits_the_code(planted: Path, fault: Fault) -> None:
    """It can be planted, and what comes of it is Python."""
    for edit in fault.edits:
        compile((planted / "server" / "fanwise" / edit.file).read_text(), edit.file, "exec")


def test_a_fault_that_does_not_fit_says_so(clean: Path) -> None:
    """Rather than to plant nothing, and to see nothing caught."""
    edit = FAULTS[0].edits[0]._replace(old="what never stood there")
    with pytest.raises(FaultError, match=r"sweep\.py has 0 times, not once:\nwhat never stood there"):
        plant(FAULTS[0]._replace(edits=(edit,)), clean)


@pytest.mark.parametrize("fault", [BY_NAME["encoding per client"]], ids=str)
def test_the_ab_gate_sees_a_fault(fault: Fault, clean: Path, planted: Path) -> None:
    """One pair of processes is enough for one that takes so many times as long."""
    ratios, _ = compare.compare(clean, planted, [fault.seen_in], pairs=1)
    assert ratios[fault.seen_in][0] > 2
