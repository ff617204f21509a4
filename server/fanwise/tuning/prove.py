"""The proof of a proposal: its plan as a load of `fanwise bench` on a server of its own, before and after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..errors import FanwiseError
from ..tools.humanize import number, size, span
from .outcome import Outcome
from .plan import Plan
from .proposal import Proposal

MOST_SECONDS: Final = 120.0  # of one run; a longer plan is played in part
_PATIENCE_SECONDS: Final = 60.0  # beyond the run itself
_LAST_CHARACTERS: Final = 200  # of what a bench has said that came to nothing
_PLAYED: Final = ("slow", "pausing")


class NotProvedError(FanwiseError):
    """The bench came to nothing."""


Bench = Callable[[list[str], dict[str, str], float], dict[str, Any]]


def prove(plan: Plan, proposal: Proposal, *, bench: Bench | None = None) -> list[dict[str, Any]]:
    """Returns what was measured with the settings of today, and with the proposed ones if these differ.

    Args:
        plan: The load.
        proposal: What the replay says.
        bench: Plays a load: (options, environment, seconds) to the JSON of one run. By default `fanwise bench`.

    Raises:
        NotProvedError: A bench came to nothing.
    """
    play = bench or play_bench
    outcomes = [("today", proposal.today)]
    if proposal.changes:
        outcomes.append(("proposed", proposal.best))
    seconds = min(plan.seconds, MOST_SECONDS)
    return [
        _proof(title, outcome, play(options(plan, seconds=seconds), environ(outcome), seconds), plan, seconds)
        for title, outcome in outcomes
    ]


def options(plan: Plan, *, seconds: float) -> list[str]:
    """Returns a plan as options of `fanwise bench`."""
    given: dict[str, object] = {
        "--dialect": plan.dialect,
        "--clients": plan.clients,
        "--size": plan.size,
        "--duration": f"{seconds:g}s",
        "--seed": plan.seed,
        "--pausing": plan.pausing,
        "--pause": _times(plan.pause_seconds),
        "--awake": _times(plan.awake_seconds),
        "--slow": plan.slow,
        "--bandwidth": f"{plan.bandwidth[0]:.0f}..{plan.bandwidth[1]:.0f}",
        "--keys": plan.keys,
        "--receive-buffer": 65_536,
    }
    if plan.rate:
        given["--rate"] = plan.rate
    if plan.burst:
        given |= {"--burst": plan.burst, "--every": f"{plan.burst_seconds:g}s"}
    if plan.away_seconds is not None:
        given |= {"--resuming": plan.pausing + plan.slow, "--away": _times(plan.away_seconds)}
    return [str(part) for pair in given.items() for part in pair]


def environ(outcome: Outcome) -> dict[str, str]:
    """Returns the settings of an outcome as variables."""
    settings = outcome.candidate.as_settings()
    given = {f"FANWISE_{name.upper()}": str(value) for name, value in settings.items() if value is not None}
    return given | {"FANWISE_RATE_LIMITS": "no"}


def play_bench(arguments: list[str], variables: dict[str, str], seconds: float) -> dict[str, Any]:
    """Runs `fanwise bench`; returns the JSON of its run.

    Raises:
        NotProvedError: It wrote none.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bench.json"
        command = [sys.executable, "-m", "fanwise", "bench", *arguments, "--json", str(path)]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and our own package
                command,
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + _PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise NotProvedError("--prove: the bench did not end in time") from error
        if not path.exists():
            said = (done.stderr or done.stdout).strip()[-_LAST_CHARACTERS:]
            raise NotProvedError(f"--prove: the bench came to nothing: {said or 'it said nothing'}")
        run: dict[str, Any] = json.loads(path.read_text())["runs"][0]
        return run


def proof_lines(proofs: list[dict[str, Any]]) -> list[str]:
    """Returns the proof for a terminal."""
    if not proofs:
        return []
    return ["", "proof      played with `fanwise bench` on a server of its own:", *map(_line, proofs)]


def _line(proof: dict[str, Any]) -> str:
    return (
        f"  {proof['title']:<10} {number(proof['dropped'])} connections dropped (replay: {number(proof['replayed'])}), "
        f"{proof['recovered']}/{proof['returned']} resumed without a loss, "
        f"{number(proof['gaps'])} publications skipped, "
        f"age p99 {span(proof['stale_p99_ms'] / 1000)}, memory {size(proof['memory_bytes'] or 0)}"
    )


def _proof(title: str, outcome: Outcome, run: dict[str, Any], plan: Plan, seconds: float) -> dict[str, Any]:
    return {
        "title": title,
        "seconds": seconds,
        "dropped": sum(drop["clients"] for drop in run["drops"] if drop["kind"] in _PLAYED),
        "replayed": outcome.dropped * seconds / plan.seconds,
        "gaps": sum(run["clients"][kind]["gaps_told"] for kind in _PLAYED),
        "returned": sum(run["clients"][kind]["returned"] for kind in _PLAYED),
        "recovered": sum(run["clients"][kind]["recovered"] for kind in _PLAYED),
        "stale_p99_ms": max((run["clients"][kind]["staleness_ms"]["p99"] or 0.0) for kind in _PLAYED),
        "latency_p99_ms": run["latency_ms"]["p99"],
        "memory_bytes": run["server_process"]["rss_peak_bytes"],
        "verdict": run["verdict"],
    }


def _times(ends: tuple[float, float]) -> str:
    return f"{max(ends[0], 1e-3):g}s..{max(ends[1], 1e-3):g}s"
