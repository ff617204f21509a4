"""Clients without a network: descriptors that take everything, in the numbers that a benchmark asks for."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator

import pytest

SPARE = 200  # descriptors for everything else


@pytest.fixture
def descriptors() -> Iterator[Callable[[int], list[int]]]:
    """`descriptors(n)` opens n that take every write at once and count nothing: the cost left is ours."""
    opened: list[int] = []

    def open_many(count: int) -> list[int]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < count + SPARE:
            pytest.skip(f"needs {count + SPARE} file descriptors, the hard limit is {hard}")
        if soft < count + SPARE:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count + SPARE, hard))
        opened.extend(os.open("/dev/null", os.O_WRONLY) for _ in range(count))
        return opened

    yield open_many
    for descriptor in opened:
        os.close(descriptor)
