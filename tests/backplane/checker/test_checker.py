"""The checker in brief, at each run; `tox -e backplane` is the long form."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack

import pytest

from ...support.engines import binary
from .faults import FAULTS
from .mutants import MUTANTS
from .scene import play

pytestmark = pytest.mark.anyio

# Those that take no processes, and are over in two seconds.
BRIEF = (
    "answers-lost",
    "cut-after-sending",
    "deaf-all-trimmed",
    "evicted",
    "failover-late",
    "held",
    "killed",
    "killed-durable",
    "links-killed",
    "nats-answers-lost",
    "nats-killed",
    "out-of-memory",
    "split",
)


async def test_whatever_happens_the_invariants_hold() -> None:
    """Each fault has an engine, three servers, clients and publishers of its own, all at the same time."""
    binary()
    seed = int.from_bytes(os.urandom(2))
    verdicts = await asyncio.gather(*(play(FAULTS[name], seed=seed, brief=True) for name in BRIEF))
    found = {name: verdict.violations[:5] for name, verdict in zip(BRIEF, verdicts, strict=True)}
    assert {name: violations for name, violations in found.items() if violations} == {}, f"seed {seed}"


@pytest.mark.parametrize("name", ["frames-unnumbered", "late-frames-taken"])
async def test_it_fails_when_it_should(name: str) -> None:
    """A server with a mistake in it is caught."""
    binary()
    with ExitStack() as stack:
        MUTANTS[name].plant(stack)
        verdict = await play(MUTANTS[name].fault, seed=1, brief=True)
    assert "I1" in {one.invariant for one in verdict.violations}
