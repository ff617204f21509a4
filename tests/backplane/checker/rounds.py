"""Runs faults, and prints what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop

from .faults import FAULTS
from .mutants import MUTANTS, Mutant
from .scene import Fault, Verdict, play

_SHOWN: Final = 3  # violations of a run
_RUN_SECONDS: Final = 180.0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def run(fault: Fault, *, seed: int, brief: bool) -> Verdict:
    """Plays a fault. Raises TimeoutError if it does not end."""
    async with asyncio.timeout(_RUN_SECONDS):
        return await play(fault, seed=seed, brief=brief)


def run_faults(names: Sequence[str], *, rounds: int, jobs: int, brief: bool, seed: int | None) -> bool:
    """Runs each of the faults `rounds` times, `jobs` at a time; returns whether all invariants have held."""
    free = asyncio.Semaphore(jobs)

    async def one(name: str, number: int) -> bool:
        async with free:
            return await _run_one(name, random.randrange(10**6) if seed is None else seed + number, brief=brief)

    async def together() -> list[bool]:
        return await asyncio.gather(*(one(name, number) for number in range(rounds) for name in names))

    found = uvloop.run(together())
    say(f"ALL OK: {len(found)} runs" if all(found) else f"FAILED: {found.count(False)} of {len(found)} runs")
    return all(found)


async def _run_one(name: str, seed: int, *, brief: bool) -> bool:
    begin = time.monotonic()
    try:
        verdict = await run(FAULTS[name], seed=seed, brief=brief)
    except Exception as error:  # noqa: BLE001 - the next fault is run all the same
        traceback.print_exception(error)
        say(f"{name:20} seed={seed:<6} FAILED: {error!r}")
        return False
    fates = " ".join(f"{outcome}={count}" for outcome, count in sorted(verdict.fates.items()))
    gaps = " ".join(f"{reason}={count}" for reason, count in sorted(verdict.gaps.items())) or "none"
    say(
        f"{name:20} seed={seed:<6} {fates} slowest={verdict.slowest_seconds * 1000:.0f}ms"
        f" late={verdict.late_seconds * 1000:.0f}ms"
        f" delivered={verdict.deliveries} gaps: {gaps}; {time.monotonic() - begin:.0f}s"
        f" {'ok' if not verdict.violations else 'FAILED'}",
    )
    if verdict.violations:
        _show(name, seed, verdict)
    return not verdict.violations


def _show(name: str, seed: int, verdict: Verdict) -> None:
    for invariant, count in Counter(one.invariant for one in verdict.violations).items():
        say(f"    {invariant}: {count}")
        for one in [found for found in verdict.violations if found.invariant == invariant][:_SHOWN]:
            say(f"        {one.who}: {one.what}")
    path = Path(tempfile.gettempdir()) / f"checker-{name}-{seed}.jsonl"
    verdict.record.save(path)
    say(f"    record: {path}")


def run_mutants(names: Sequence[str], *, rounds: int, brief: bool) -> bool:
    """Runs each of the mutants `rounds` times, all at once; returns whether each was caught each time."""
    good = True
    for name in names:
        caught = uvloop.run(_caught(MUTANTS[name], rounds, brief=brief))
        by = Counter(invariant for found in caught for invariant in found)
        good &= all(caught)
        say(f"{name:24} caught {sum(map(bool, caught))}/{rounds} by {dict(by)}")
    return good


async def _caught(mutant: Mutant, rounds: int, *, brief: bool) -> list[set[str]]:
    """Returns the invariants that a mutant has broken in each round; an empty set where it got away."""
    with contextlib.ExitStack() as stack:
        mutant.plant(stack)
        verdicts = await asyncio.gather(*(run(mutant.fault, seed=seed, brief=brief) for seed in range(rounds)))
    return [{one.invariant for one in verdict.violations} for verdict in verdicts]
