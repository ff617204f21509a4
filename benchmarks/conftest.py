"""Clients without a network: descriptors that take everything, in the numbers that a benchmark asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from .harness import DescriptorLimitError, devnull

pytest_plugins = ["tests.support.plugin", "benchmarks.measuring.plugin"]


@pytest.fixture
def descriptors() -> Iterator[Callable[[int], list[int]]]:
    """`descriptors(n)` opens n that take every write at once and count nothing: the cost left is ours."""
    with ExitStack() as stack:

        def open_many(count: int) -> list[int]:
            try:
                return stack.enter_context(devnull(count))
            except DescriptorLimitError as error:
                pytest.skip(str(error))

        yield open_many
