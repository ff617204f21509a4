"""How well a replay predicts: a real server swept over widths, policies and seeds, beside replays of one trace each.

    python -m benchmarks.accuracy --out DIRECTORY [--widths 64,128] [--policies disconnect] [--seeds 1,2]
    python -m benchmarks.accuracy --out DIRECTORY --report
    python -m benchmarks.accuracy --virtual

A cell is one run of 20 s (`accuracy_load`). For each seed a trace is recorded first, with a queue that drops nobody.
What is in the directory is not run again, so that the sweep can be made in parts: all 96 cells take 45 minutes.
A run whose load generator was later than it may be, as on a machine that does something else, is repeated.

`--virtual` takes no server: plans are replayed with a wide queue and recorded. What the trace of that predicts for
narrower queues is compared with the plans themselves. That shows what the estimates lose, on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fanwise.core.trace import Header
from fanwise.core.trace_reader import read_trace
from fanwise.errors import FanwiseError
from fanwise.tools.local_server import PORT, running
from fanwise.tools.remote import Remote
from fanwise.tuning.outcome import Candidate, Outcome
from fanwise.tuning.plan import Plan, make_scene
from fanwise.tuning.replay import Replay
from fanwise.tuning.scene import Scene
from fanwise.tuning.search import NEAR
from fanwise.tuning.traced import read_scene
from tests.support.recorded import RecordedReplay

from .accuracy_load import DEFAULTS, LATE_SECONDS

WIDTHS = (32, 48, 64, 96, 128, 192, 256, 384)
POLICIES = ("disconnect", "drop_oldest", "latest")
SEEDS = (1, 2, 3, 4)
WIDE = 100_000  # messages: nobody is dropped
ATTEMPTS = 20
SETTINGS: dict[str, Any] = {
    "queue_bytes": 100_000_000,
    "history_messages": 4000,
    "history_bytes": 100_000_000,
    "memory_bytes": 1_000_000_000,
}
VIRTUAL_WIDTHS = (64, 256, 512, 768)
_PLAN = Plan(rate=300, size=1000, clients=60, pausing=12, pause_seconds=(0.0, 3.0), between_seconds=4.0, slow=9)
VIRTUAL = {
    "steady": replace(_PLAN, seconds=20.0),
    "bursts": replace(_PLAN, seconds=20.0, rate=0, burst=500),
    "pauses": replace(_PLAN, seconds=20.0, rate=100, pause_seconds=(1.0, 8.0)),
}
END_SECONDS = 0.1  # from the last publication to the look at /stats


def measure(out: Path, name: str, *, seed: int, seconds: float, trace: Path | None = None, **settings: Any) -> None:
    """Runs one cell, unless its result is there."""
    path = out / f"{name}.json"
    if path.exists():
        return
    for _ in range(ATTEMPTS):
        try:
            found = once({**SETTINGS, **settings}, seed=seed, seconds=seconds, trace=trace)
        except (FanwiseError, ValueError) as error:  # no answer, or no JSON
            say(f"{name}: {error}")
            continue
        say(f"{name}: {found['closed']} {found['dropped']} late {found['late_seconds']:.2f} s")
        if found["late_seconds"] < LATE_SECONDS:
            path.write_text(json.dumps(found))
            return


def once(settings: dict[str, Any], *, seed: int, seconds: float, trace: Path | None) -> dict[str, Any]:
    """Runs a server and a load; returns what both have counted."""
    environ = {f"FANWISE_{field.upper()}": str(value) for field, value in settings.items()}
    environ |= {"FANWISE_RATE_LIMITS": "no", "FANWISE_LOG_LEVEL": "error", "FANWISE_PING_SECONDS": "100"}
    if trace is not None:
        environ["FANWISE_TRACE"] = str(trace)
    with running(("-m", "fanwise", "serve", "--port", PORT), environ=environ) as server:
        remote = Remote(server.url("http"))
        config = {"port": server.port, "seed": seed, "seconds": seconds}
        command = [sys.executable, "-m", "benchmarks.accuracy_load", json.dumps(config)]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        memory = 0
        try:
            while load.poll() is None:
                memory = max(memory, remote.stats()["now"]["retained_bytes"])
                with suppress(subprocess.TimeoutExpired):
                    load.wait(0.5)
        finally:
            load.kill()
        assert load.stdout is not None
        found: dict[str, Any] = json.loads(load.stdout.read())
        stats = remote.stats()
    closed = {reason: number for reason, number in stats["closed"].items() if number}
    dropped = {cause: number for cause, number in stats["dropped"].items() if number}
    return {**found, "settings": settings, "closed": closed, "dropped": dropped, "memory_bytes": memory}


def sweep(out: Path, *, widths: list[int], policies: list[str], seeds: list[int], seconds: float) -> None:
    """Runs all cells that are not there."""
    for seed in seeds:
        measure(out, f"trace-{seed}", seed=seed, seconds=seconds, trace=out / f"{seed}.trace", queue_messages=WIDE)
        for width in widths:
            for policy in policies:
                name = f"{policy}-{width}-{seed}"
                measure(out, name, seed=seed, seconds=seconds, queue_messages=width, overflow=policy)


def virtual() -> None:
    """Prints how well traces of replayed plans predict the plans with narrower queues."""
    errors: dict[tuple[str, str], list[float]] = {}
    for name, kind in VIRTUAL.items():
        for seed in (1, 2):
            scene = make_scene(replace(kind, seed=seed))
            recorded = RecordedReplay(scene, Candidate(queue_messages=WIDE, **SETTINGS))
            recorded.run()
            traced = read_scene(recorded.header, recorded.records).scene
            for policy in POLICIES:
                for width in VIRTUAL_WIDTHS:
                    candidate = Candidate(queue_messages=width, overflow=policy, **SETTINGS)
                    seen, said = (replayed(Replay(one, candidate).run()) for one in (scene, traced))
                    main = _main(policy)
                    for figure, floor in ((main, 1.0), ("age", 0.05)):
                        errors.setdefault((policy, figure), []).append(off(seen[figure], said[figure], floor))
                    say(
                        f"{name:<8} {seed} {policy:<12} {width:>5} {main} {seen[main]:>7.0f} {said[main]:>7.0f} "
                        f"age {seen['age']:>6.2f} {said['age']:>6.2f}"
                    )
    summary(errors)


def scene_of(out: Path, seed: int) -> Scene:
    """Returns the scene of a seed's trace, up to the moment at which the truth was looked at."""
    data = (out / f"{seed}.trace").read_bytes()
    header, *records = read_trace([data])
    assert isinstance(header, Header)
    low, high = DEFAULTS["away"]
    scene = read_scene(header, [one for one in records if not isinstance(one, Header)], away=(low, high)).scene
    return replace(scene, ends=scene.publications[-1].time + END_SECONDS)


def truth_of(found: dict[str, Any]) -> dict[str, float]:
    dropped, closed = found["dropped"], found["closed"]
    return {
        "drops": closed.get("slow", 0) + closed.get("stalled", 0) + closed.get("memory", 0),
        "lost": dropped.get("gap_slow", 0) + dropped.get("gap_history", 0),
        "age": found["age_p99"] or 0.0,
        "memory": found["memory_bytes"],
    }


def replayed(outcome: Outcome) -> dict[str, float]:
    return {
        "drops": outcome.dropped,
        "lost": outcome.lost,
        "age": outcome.age(0.99) or 0.0,
        "memory": outcome.log_bytes,
    }


def cells(out: Path) -> Iterator[tuple[str, int, int, dict[str, float], dict[str, float]]]:
    """Yields (policy, width, seed, truth, replayed) of each cell that is there."""
    for seed in SEEDS:
        if not (out / f"{seed}.trace").exists():
            continue
        scene = scene_of(out, seed)
        for policy in POLICIES:
            for width in WIDTHS:
                path = out / f"{policy}-{width}-{seed}.json"
                if path.exists():
                    candidate = Candidate(queue_messages=width, overflow=policy, **SETTINGS)
                    outcome = Replay(scene, candidate).run()
                    yield policy, width, seed, truth_of(json.loads(path.read_text())), replayed(outcome)


def off(seen: float, said: float, floor: float) -> float:
    """Returns the relative error of what was `said`; figures below `floor` count as that."""
    return (said - seen) / max(seen, floor)


def report(out: Path) -> None:
    """Prints the table, and the errors over all cells."""
    errors: dict[tuple[str, str], list[float]] = {}
    swept: dict[tuple[str, int], list[tuple[int, dict[str, float], dict[str, float]]]] = {}
    say("policy       width seed     drops            lost                age p99           memory")
    for policy, width, seed, seen, said in cells(out):
        main = _main(policy)
        swept.setdefault((policy, seed), []).append((width, seen, said))
        floors = {main: 1.0, "age": 0.05, "memory": 1e5}
        row = [f"{policy:<12} {width:>5} {seed:>4} "]
        for figure in ("drops", "lost", "age", "memory"):
            shown = "{:.2f}" if figure == "age" else "{:.0f}"
            row.append(f"{shown.format(seen[figure]):>9} {shown.format(said[figure]):>9}")
            if figure in floors:
                error = off(seen[figure], said[figure], floors[figure])
                errors.setdefault((policy, figure), []).append(error)
                row.append(f"{error:>+6.0%}")
        say(" ".join(row))
    summary(errors)
    for (policy, seed), rows in swept.items():
        choices(policy, seed, rows)


def summary(errors: dict[tuple[str, str], list[float]]) -> None:
    """Prints the errors over all cells."""
    for (policy, figure), found in errors.items():
        sizes = [abs(error) for error in found]
        within = sum(size <= 0.1 for size in sizes)
        say(
            f"{policy} {figure}: {len(found)} cells, median {statistics.median(sizes):.1%}, at most {max(sizes):.1%}, "
            f"within 10 %: {within} ({within / len(sizes):.0%}), mean {statistics.mean(found):+.1%}"
        )


def choices(policy: str, seed: int, rows: list[tuple[int, dict[str, float], dict[str, float]]]) -> None:
    """Prints the width that a replay chooses, the one that the truth would, and how both did in truth."""
    main = _main(policy)

    def narrowest(figures: list[tuple[int, dict[str, float]]]) -> int:
        least = min(one[main] for _, one in figures)
        return min(width for width, one in figures if one[main] <= least * (1 + NEAR) + 1e-9)

    truth = {width: seen for width, seen, _ in rows}
    best = narrowest(list(truth.items()))
    chosen = narrowest([(width, said) for width, _, said in rows])
    shown = " ".join(
        f"{figure} {truth[chosen][figure]:.4g} against {truth[best][figure]:.4g}" for figure in (main, "age", "memory")
    )
    say(f"{policy} seed {seed}: a replay chooses {chosen}, the truth {best}: {shown}")


def _main(policy: str) -> str:
    return "drops" if policy == "disconnect" else "lost"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - that is what it is for


def _listed(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("accuracy"))
    parser.add_argument("--widths", type=_listed, default=[str(width) for width in WIDTHS])
    parser.add_argument("--policies", type=_listed, default=list(POLICIES))
    parser.add_argument("--seeds", type=_listed, default=[str(seed) for seed in SEEDS])
    parser.add_argument("--seconds", type=float, default=DEFAULTS["seconds"])
    parser.add_argument("--report", action="store_true", help="replay, and compare what is there")
    parser.add_argument("--virtual", action="store_true", help="plans in place of servers")
    given = parser.parse_args()
    if given.virtual:
        return virtual()
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.report:
        os.environ.setdefault("PYTHONHASHSEED", "0")
        widths, seeds = [int(width) for width in given.widths], [int(seed) for seed in given.seeds]
        sweep(given.out, widths=widths, policies=given.policies, seeds=seeds, seconds=given.seconds)
    return report(given.out)


if __name__ == "__main__":
    main()
