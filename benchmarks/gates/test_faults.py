"""The guard is guarded: what can be planted is planted, and what one look can see is seen.

Each change, and the gate that catches it, is in `test_every_fault.py`, which `tox -e bench-faults` runs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .careless import CARELESS
from .careless_counted import CARELESS_COUNTED
from .faults import COUNTED_FAULTS, FAULTS, CountedFault, Fault, FaultError, plant
from .trees import ROOT


@pytest.mark.parametrize("fault", [*FAULTS, *CARELESS, *COUNTED_FAULTS, *CARELESS_COUNTED], ids=str)
def test_a_fault_fits_the_code(tmp_path: Path, fault: Fault | CountedFault) -> None:
    """It can be planted, and what comes of it is Python."""
    package = Path("server", "fanwise")
    for edit in fault.edits:
        (tmp_path / package / edit.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / package / edit.file, tmp_path / package / edit.file)
    plant(fault, tmp_path)
    for edit in fault.edits:
        compile((tmp_path / package / edit.file).read_text(), edit.file, "exec")


def test_a_fault_that_does_not_fit_says_so(clean: Path) -> None:
    """Rather than to plant nothing, and to see nothing caught."""
    edit = FAULTS[0].edits[0]._replace(old="what never stood there")
    with pytest.raises(FaultError, match=r"sweep\.py has 0 times, not once:\nwhat never stood there"):
        plant(FAULTS[0]._replace(edits=(edit,)), clean)
