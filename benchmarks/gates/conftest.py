"""What the gates ask of the system, and trees with and without a fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.harness import DescriptorLimitError, allow_descriptors

from .faults import FAULTS, CountedFault, Fault, plant
from .instructions import DESCRIPTORS
from .trees import copy_tree

collect_ignore = [] if "EVERY_FAULT" in os.environ else ["test_every_fault.py"]  # it takes minutes

BY_NAME = {fault.name: fault for fault in FAULTS}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("clean") / "tree")


@pytest.fixture
def planted(fault: Fault | CountedFault, tmp_path: Path) -> Path:
    root = copy_tree(tmp_path / "tree")
    plant(fault, root)
    return root


@pytest.fixture(scope="session", autouse=True)
def _descriptors() -> None:
    try:
        allow_descriptors(DESCRIPTORS)
    except DescriptorLimitError as error:
        pytest.skip(str(error))
