"""What the gates ask of the system."""

from __future__ import annotations

import pytest

from benchmarks.harness import DescriptorLimitError, allow_descriptors

from .instructions import DESCRIPTORS


@pytest.fixture(scope="session", autouse=True)
def _descriptors() -> None:
    try:
        allow_descriptors(DESCRIPTORS)
    except DescriptorLimitError as error:
        pytest.skip(str(error))
