"""How well a replay predicts: a real server swept over widths, policies and seeds, beside replays of one trace each.

    python -m benchmarks.accuracy --out DIRECTORY [--seeds 1,2] [--runs 2] [--widths 64,128] [--policies disconnect]
    python -m benchmarks.accuracy --out DIRECTORY --report
    python -m benchmarks.accuracy --virtual

A run is one server (`accuracy_server`) with a node for each of 24 cells, and one more whose queue drops nobody. All get
the same publications, and the same clients in number and habits (`accuracy_load`). The last node records the trace
that predicts the others. Runs of one seed show how far the real server differs from itself: no replay can be better.
What is in the directory is not run again. A run in which the load was late, as beside other programs, is repeated.

`--plan` predicts from the habits of the load in place of the trace: what is off then, the simulation leaves out.

`--virtual` takes no server: plans are replayed with a wide queue and recorded. What the trace of that predicts for
narrower queues is compared with the plans themselves. That shows what the estimates lose, on any machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from fanwise.core.trace import Header
from fanwise.core.trace_reader import read_trace
from fanwise.tools.local_server import PORT, running
from fanwise.tools.remote import Remote
from fanwise.tuning.outcome import Candidate, Outcome
from fanwise.tuning.plan import Plan, make_scene
from fanwise.tuning.replay import Replay
from fanwise.tuning.scene import FAST_BYTES, Reader, Scene, Supply
from fanwise.tuning.search import NEAR
from fanwise.tuning.traced import read_scene
from tests.support.recorded import RecordedReplay

from .accuracy_load import CHANNEL, DEFAULTS, habits_of
from .accuracy_server import END_SECONDS

WIDTHS = (32, 48, 64, 96, 128, 192, 256, 384)
POLICIES = ("disconnect", "drop_oldest", "latest")
SEEDS = (1, 2, 3, 4)
WIDE = 100_000  # messages: nobody is dropped
ATTEMPTS = 20
TRACED: Final = "traced"  # the node that is recorded
LATE_SECONDS: Final = 0.2  # a load that was later than that was disturbed
NO_PINGS: Final[dict[str, Any]] = {"ping_seconds": 0.0}  # as `accuracy_server` has it
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
CHOSEN: Final = ("harm", "age", "memory")  # what a proposal is judged by; harm: drops, or losses under other policies
FLOORS: Final = {"drops": 1.0, "lost": 1.0, "age": 0.05, "memory": 1e5}  # figures below count as that


def measure(out: Path, config: dict[str, Any], *, run: int, late_seconds: float) -> None:
    """Makes one run, unless its result is there."""
    path = out / f"{config['seed']}-{run}.json"
    for _ in range(ATTEMPTS):
        if path.exists():
            return
        config["cells"][TRACED]["trace"] = str(path.with_suffix(".trace"))
        found = once(config)
        late = {"load": found["late_seconds"], "server": max(cell["late_seconds"] for cell in found["cells"].values())}
        say(f"{path.name}: late by {late} s at most, {found['cpu_share']:.0%} of a CPU for the load")
        if found["late_seconds"] < late_seconds:
            path.write_text(json.dumps(found))


def once(config: dict[str, Any]) -> dict[str, Any]:
    """Runs a server and a load; returns what both have seen of each cell."""
    text = json.dumps(config)
    with running(("-m", "benchmarks.accuracy_server", PORT, text)) as server:
        port = {"port": server.port}
        command = [sys.executable, "-m", "benchmarks.accuracy_load", json.dumps({**config, **port})]
        load = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(load.stdout)
        counted = Remote(server.url("http")).get("/found")
    for name, cell in found["cells"].items():
        cell.update(counted[name])
    return found


def settings_of(widths: Sequence[int], policies: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns {cell: its settings}, and those of the node that is recorded."""
    cells = {
        f"{policy}-{width}": {"queue_messages": width, "overflow": policy, **SETTINGS}
        for policy in policies
        for width in widths
    }
    return {TRACED: {"queue_messages": WIDE, **SETTINGS}, **cells}


def virtual() -> None:
    """Prints how well traces of replayed plans predict the plans with narrower queues."""
    errors: dict[tuple[str, str], list[float]] = {}
    for name, kind in VIRTUAL.items():
        for seed in (1, 2):
            scene = make_scene(replace(kind, seed=seed))
            recorded = RecordedReplay(scene, Candidate(queue_messages=WIDE, **SETTINGS, **NO_PINGS))
            recorded.run()
            traced = read_scene(recorded.header, recorded.records).scene
            for policy in POLICIES:
                for width in VIRTUAL_WIDTHS:
                    candidate = Candidate(queue_messages=width, overflow=policy, **SETTINGS, **NO_PINGS)
                    seen, said = (replayed(Replay(one, candidate).run()) for one in (scene, traced))
                    main = _main(policy)
                    for figure, floor in ((main, 1.0), ("age", 0.05)):
                        errors.setdefault((policy, figure), []).append(off(seen[figure], said[figure], floor))
                    say(
                        f"{name:<8} {seed} {policy:<12} {width:>5} {main} {seen[main]:>7.0f} {said[main]:>7.0f} "
                        f"age {seen['age']:>6.2f} {said['age']:>6.2f}"
                    )
    summary(errors)


def scene_of(path: Path) -> Scene:
    """Returns the scene of a run's trace, up to the moment at which the truth was looked at."""
    header, *records = read_trace([path.read_bytes()])
    assert isinstance(header, Header)
    low, high = DEFAULTS["away"]
    scene = read_scene(header, [one for one in records if not isinstance(one, Header)], away=(low, high)).scene
    return replace(scene, ends=scene.publications[-1].time + END_SECONDS)


def planned(scene: Scene, config: dict[str, Any]) -> Scene:
    """Returns the scene with the readers that the load had, in place of those that the trace shows."""
    readers, start = [], scene.publications[0].time
    for number, habits in enumerate(habits_of(config)):
        pieces = [(0.0, habits.rate or FAST_BYTES)]
        for begins, ends in habits.pauses:
            pieces += [(start + begins, 0.0), (start + ends, FAST_BYTES)]
        if habits.kind != "fast":
            reader = Reader(
                name=f"{habits.kind}-{number}",
                channels=(CHANNEL,),
                supply=Supply(pieces),
                room_bytes=scene.readers[0].room_bytes,
                refill_bytes=scene.readers[0].refill_bytes,
                away_seconds=tuple(config["away"]),
            )
            readers.append(reader)
    return replace(scene, readers=readers, fast_clients=config["fast"])


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


class Row(NamedTuple):
    """A cell of a run: what a real server did, and what a replay said."""

    policy: str
    width: int
    seed: int
    run: int
    seen: dict[str, float]
    said: dict[str, float]


def rows(out: Path, *, plan: bool) -> Iterator[Row]:
    """Yields the cells that are there."""
    for path in sorted(out.glob("*-*.json")):
        seed, run = map(int, path.stem.split("-"))
        scene = scene_of(path.with_suffix(".trace"))
        if plan:
            scene = planned(scene, {**DEFAULTS, "seed": seed, "seconds": scene.seconds})
        for name, cell in json.loads(path.read_text())["cells"].items():
            if name != TRACED:
                policy, width = name.rsplit("-", 1)
                candidate = Candidate(queue_messages=int(width), overflow=policy, **SETTINGS, **NO_PINGS)
                yield Row(policy, int(width), seed, run, truth_of(cell), replayed(Replay(scene, candidate).run()))


def off(seen: float, said: float, floor: float) -> float:
    """Returns the relative error of what was `said`; figures below `floor` count as that."""
    return (said - seen) / max(seen, floor)


def report(out: Path, *, plan: bool) -> None:
    """Prints the table, the errors over all cells, and how far runs of one seed are apart."""
    errors: dict[tuple[str, str], list[float]] = {}
    swept: dict[tuple[str, int, int], list[Row]] = {}
    first: dict[tuple[str, int, int], dict[str, float]] = {}
    say("policy       width seed run     drops            lost                age p99           memory")
    for row in rows(out, plan=plan):
        main = _main(row.policy)
        swept.setdefault((row.policy, row.seed, row.run), []).append(row)
        before = first.setdefault((row.policy, row.width, row.seed), row.seen)
        line = [f"{row.policy:<12} {row.width:>5} {row.seed:>4} {row.run:>3} "]
        for figure in ("drops", "lost", "age", "memory"):
            shown = "{:.2f}" if figure == "age" else "{:.0f}"
            line.append(f"{shown.format(row.seen[figure]):>9} {shown.format(row.said[figure]):>9}")
            if figure in FLOORS and (figure in ("age", "memory") or figure == main):
                error = off(row.seen[figure], row.said[figure], FLOORS[figure])
                errors.setdefault((row.policy, figure), []).append(error)
                line.append(f"{error:>+6.0%}")
                if before is not row.seen:
                    apart = off(before[figure], row.seen[figure], FLOORS[figure])
                    errors.setdefault((row.policy, f"{figure}, from run to run"), []).append(apart)
        say(" ".join(line))
    summary(errors)
    say(f"ERRORS of fanwise.tuning.report: {to_show(errors)}")
    near: Counter[str] = Counter()
    for (policy, seed, run), found in swept.items():
        near.update(choices(f"{policy} seed {seed} run {run}", policy, found))
    shown = ", ".join(f"{figure} {near[figure]}" for figure in (*CHOSEN, "all"))
    say(f"within 10 % of the best of the sweep are, of {len(swept)} proposals: {shown}")


def summary(errors: dict[tuple[str, str], list[float]]) -> None:
    """Prints the errors over all cells."""
    for (policy, figure), found in errors.items():
        sizes = [abs(error) for error in found]
        within = sum(size <= 0.1 for size in sizes)
        say(
            f"{policy} {figure}: {len(found)} cells, median {statistics.median(sizes):.1%}, at most {max(sizes):.1%}, "
            f"within 10 %: {within} ({within / len(sizes):.0%}), mean {statistics.mean(found):+.1%}"
        )


def to_show(errors: dict[tuple[str, str], list[float]]) -> dict[str, tuple[float, float]]:
    """Returns what a report shows beside its figures: {figure: (median error, largest error)} over all policies."""
    shown = {}
    for figure in ("drops", "lost", "age"):
        found = [abs(error) for (_, one), cells in errors.items() if one == figure for error in cells]
        if found:
            shown[figure] = round(statistics.median(found), 3), round(max(found), 3)
    return shown


def choices(name: str, policy: str, found: list[Row]) -> list[str]:
    """Prints the width that a replay proposes, the one that the truth would, and how both did in truth.

    Both are the narrowest width within `NEAR` of the least harm, as `fanwise tune` chooses. Returns the figures in
    which the proposal is at most a tenth worse than the best width; also "all", if it is in all.
    """
    main = _main(policy)

    def narrowest(figures: dict[int, dict[str, float]]) -> int:
        least = min(one[main] for one in figures.values())
        return min(width for width, one in figures.items() if one[main] <= least * (1 + NEAR) + 1e-9)

    truth = {row.width: row.seen for row in found}
    best, chosen = narrowest(truth), narrowest({row.width: row.said for row in found})
    figures = dict(zip(CHOSEN, (main, "age", "memory"), strict=True))
    near = [
        title
        for title, figure in figures.items()
        if truth[chosen][figure] <= max(truth[best][figure], FLOORS[figure]) * 1.1
    ]
    shown = " ".join(
        f"{figure} {truth[chosen][figure]:.4g} against {truth[best][figure]:.4g}" for figure in figures.values()
    )
    say(f"{name}: a replay chooses {chosen}, the truth {best}: {shown}; within 10 %: {', '.join(near) or 'none'}")
    return [*near, *(["all"] if len(near) == len(figures) else [])]


def _main(policy: str) -> str:
    return "drops" if policy == "disconnect" else "lost"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - that is what it is for


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("accuracy"))
    parser.add_argument("--widths", type=_numbers, default=WIDTHS)
    parser.add_argument("--policies", type=lambda text: text.split(","), default=POLICIES)
    parser.add_argument("--seeds", type=_numbers, default=SEEDS)
    parser.add_argument("--runs", type=int, default=2, help="of each seed")
    parser.add_argument("--seconds", type=float, default=DEFAULTS["seconds"])
    parser.add_argument("--late", type=float, default=LATE_SECONDS, help="how late the load may be, in seconds")
    parser.add_argument("--report", action="store_true", help="replay, and compare what is there")
    parser.add_argument("--plan", action="store_true", help="predict from the load's habits, not from the trace")
    parser.add_argument("--virtual", action="store_true", help="plans in place of servers")
    given = parser.parse_args()
    if given.virtual:
        return virtual()
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in [] if given.report else given.seeds:
        for run in range(1, given.runs + 1):
            config = {"seed": seed, "seconds": given.seconds, "cells": settings_of(given.widths, given.policies)}
            measure(given.out, config, run=run, late_seconds=given.late)
    return report(given.out, plan=given.plan)


if __name__ == "__main__":
    main()
