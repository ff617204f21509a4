"""No input makes an exception, a traceback or an error of the server, or keeps it from its next client."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from .inputs import INPUTS
from .targets import LIVE, PURE
from .world import World

CORPUS = Path(__file__).parent / "corpus"
# In every run. `FUZZ_EXAMPLES`, as in `tox -e fuzz`, asks for others.
EXAMPLES = {"frames": 200, "trace": 80, "websocket": 40, "http": 60, "op": 200, "ops": 30, "names": 15}
MOST_GROWTH_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module", params=[True, False], ids=["uvloop", "asyncio"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with World(fast=request.param) as world:
        yield world


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("target", [*PURE, *LIVE])
def test_what_was_found_once_stays_mended(target: str, world: World) -> None:
    """The corpus: inputs that reach far, and those that something did not hold for."""
    files = sorted((CORPUS / target).iterdir())
    assert files
    for file in files:
        if target in PURE:
            PURE[target](file.read_bytes())
        else:
            LIVE[target](file.read_bytes(), world)


@pytest.mark.parametrize("target", PURE)
def test_whatever_comes_is_understood(target: str) -> None:
    """By what needs no event loop."""
    explore(target, PURE[target])


@pytest.mark.parametrize("target", LIVE)
def test_whatever_comes_is_answered_or_closed(target: str, world: World) -> None:
    """And memory is as it was, give or take."""
    before = resident_bytes()
    explore(target, lambda data: LIVE[target](data, world))
    assert resident_bytes() - before < MOST_GROWTH_BYTES


def explore(target: str, check: Callable[[bytes], None]) -> None:
    examples = int(os.environ.get("FUZZ_EXAMPLES", EXAMPLES[target]))

    # Other inputs in each run, in CI too, where hypothesis would make those of the last one.
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(INPUTS[target])
    def each(data: bytes) -> None:
        check(data)

    each()
