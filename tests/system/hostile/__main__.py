"""Prints the whole table, each figure beside its aim; the exit status is 1 if one is not held.

    python -m tests.system.hostile [--loop uvloop|asyncio] [--row NAME]... [--stops N]

Takes about ten minutes per loop, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from .rows import FLOODS, ROWS, Figure, Row, judge, run, scene_of
from .stops import start, stop_under

QUIET_SECONDS = 2.0


def runs(row: Row, loop: str) -> Iterator[tuple[str, list[Figure]]]:
    """A line for each number of attackers: (its title, figures)."""
    for attackers in row.attackers:
        many = f", {attackers} attackers" if attackers else ""
        with scene_of(row, loop) as scene:
            result = run(scene, row, attackers=attackers, quiet_seconds=QUIET_SECONDS)
        yield f"{row.title}{many}, {loop}", list(judge(row, result, attackers=attackers, strict=True))


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="The table of attacks, each figure beside its aim.")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], action="append")
    parser.add_argument("--row", action="append", help="an attack's name, or a part of it")
    parser.add_argument("--stops", type=int, default=10, help="how often each flood sees a SIGTERM")
    options = parser.parse_args()
    missed = total = 0
    for loop in options.loop or ["uvloop", "asyncio"]:
        rows = [row for row in ROWS if not options.row or any(part in row.attack for part in options.row)]
        lines = [line for row in rows for line in told(runs(row, loop))]
        floods = [name for name in FLOODS if not options.row or any(part in name for part in options.row)]
        lines += [line for name in floods for line in told(stops(name, loop, options.stops))]
        total += len(lines)
        missed += sum(not held for held in lines)
    tell(f"{total - missed} of {total} held")
    sys.exit(missed > 0)


def stops(attack: str, loop: str, times: int) -> Iterator[tuple[str, list[Figure]]]:
    if times:
        figures = [figure for _ in range(times) for figure in stop_under(start(loop, whole=True), attack)]
        bad = [figure for figure in figures if not figure.held]
        worst = bad or [Figure("stops", f"{times} of {times}", "drain + 2 s, status 0", held=True)]
        yield f"SIGTERM under {attack}, {loop}", worst


def told(lines: Iterator[tuple[str, list[Figure]]]) -> Iterator[bool]:
    """Prints each line; yields whether it was held."""
    for title, figures in lines:
        held = all(figure.held for figure in figures)
        tell(f"{'held    ' if held else 'NOT HELD'} {title}: {'; '.join(map(str, figures))}")
        yield held


if __name__ == "__main__":
    main()
