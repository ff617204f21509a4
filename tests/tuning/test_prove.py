"""`tuning.prove`: a plan as a load of `fanwise bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fanwise.cli.bench import bench, read_options
from fanwise.tuning.outcome import Candidate
from fanwise.tuning.plan import Plan
from fanwise.tuning.prove import NotProvedError, environ, options, play_bench, proof_lines, prove

from ..support.tuned import found

PLAN = Plan(rate=100, size=500, clients=12, pausing=4, slow=2, burst=10, keys=3, seconds=500.0)


def test_a_plan_is_a_load_that_bench_takes() -> None:
    """Each option is one of the command, and says what the plan says."""
    context = bench.make_context("bench", options(PLAN, seconds=20.0))
    plan = read_options(context.params).plan
    assert (plan.clients, plan.pausing, plan.slow, plan.resuming, plan.keys) == (12, 4, 2, 6, 3)
    assert (plan.rate, plan.burst_messages, plan.size_bytes, plan.duration_seconds) == (100, 10, 500, 20.0)
    assert tuple(plan.pause_seconds) == PLAN.pause_seconds
    assert plan.dialect == "fanwise.v1"


def test_before_and_after_are_played_with_their_settings() -> None:
    """At most two minutes each; what the replay said is scaled to that."""
    played: list[tuple[dict[str, str], float]] = []

    def play(arguments: list[str], variables: dict[str, str], seconds: float) -> dict[str, Any]:
        assert "--pausing" in arguments
        played.append((variables, seconds))
        counted = {"gaps_told": 7, "returned": 2, "recovered": 1, "staleness_ms": {"p99": 1500.0}}
        kinds = dict.fromkeys(("slow", "pausing", "healthy"), counted)
        drops = [{"kind": "pausing", "clients": 5}, {"kind": "flapping", "clients": 9}]
        process = {"rss_peak_bytes": 5_000_000}
        return {
            "drops": drops, "clients": kinds, "latency_ms": {"p99": 1.0}, "server_process": process, "verdict": "fine"
        }  # fmt: skip

    _, proposal = found()
    proofs = prove(PLAN, proposal, bench=play)
    widths = [variables["FANWISE_QUEUE_MESSAGES"] for variables, _ in played]
    assert widths == ["20", str(proposal.best.candidate.queue_messages)]
    assert {seconds for _, seconds in played} == {120.0}
    assert [(proof["dropped"], proof["gaps"]) for proof in proofs] == [(5, 14)] * 2
    assert proofs[0]["replayed"] == pytest.approx(proposal.today.dropped * 120 / 500)
    assert "5 connections dropped" in proof_lines(proofs)[2]
    assert "2/4 resumed without a loss" in proof_lines(proofs)[2]


def test_only_what_is_proposed_is_played_twice() -> None:
    _, proposal = found(Candidate(queue_messages=200))
    assert environ(proposal.best)["FANWISE_QUEUE_MESSAGES"] == "200"
    assert proof_lines([]) == []


def test_a_bench_that_comes_to_nothing_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(NotProvedError, match="no such luck"):
        play_bench([], {}, 1.0)
