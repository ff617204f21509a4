"""Whether the gates cry wolf: each is run on this tree against a copy of this tree, again and again.

    python -m benchmarks.gates.trust [--runs N] [--parts N] [--busy] [GATE ...]

The gate `plain` stands for the commands of pytest-benchmark: one run is saved, and the others are compared with it.
With --busy, a process keeps a core busy meanwhile. With --parts, a run has one of N parts of the scenarios and
benchmarks, the next run the next part. The gates take turns, so a table of fewer runs is drawn where Ctrl-C ends them.
The exit status is 0 if no run has caught anything, 1 if one has, and 2 if one could not look.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

from .all import GATES, Look, run
from .instructions import say
from .scenarios import load_all
from .trees import ROOT, copy_tree

RUNS = 20
PLAIN = "plain"
IN_PARTS = ("instructions", "A/B")  # gates that can be told which scenarios to look at
ALL = (*(gate.name for gate in GATES), PLAIN)
FAIL = "mean:10%"
REGRESSED = "Performance has regressed"


class PlainError(RuntimeError):
    """The plain command that saves a run has failed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"no run could be saved:\n{self.said}"


@contextmanager
def busy() -> Iterator[None]:
    """A process that keeps a core busy, for as long as the context lasts."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def benchmarks() -> list[str]:
    """The files that have benchmarks."""
    return [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("benchmarks/test_*.py"))]


def part(all_: list[str], number: int, parts: int) -> list[str]:
    """One of so many parts of a list, for the run of that number: the next run has the next part."""
    return all_[number % parts :: parts]


def pytest(store: Path, files: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    """The plain command, with its saved runs in `store`."""
    command = [sys.executable, "-m", "pytest", *files, f"--benchmark-storage=file://{store}", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def save(store: Path) -> None:
    """Saves the run that others are compared with. Raises PlainError."""
    done = pytest(store, benchmarks(), "--benchmark-save=trust")
    if done.returncode:
        raise PlainError("\n".join(done.stdout.splitlines()[-20:]) + done.stderr)


def compare(store: Path, files: list[str]) -> Look:
    """Compares one run of some files with the saved one."""
    begin = time.monotonic()
    done = pytest(store, files, "--benchmark-compare", f"--benchmark-compare-fail={FAIL}")
    return plain_look(done.stdout + done.stderr, done.returncode, time.monotonic() - begin)


def plain_look(said: str, status: int, seconds: float) -> Look:
    """What the plain command has said: 1 is for benchmarks that are slower, 2 for what else has failed."""
    if not status:
        return Look(PLAIN, 0, seconds, [])
    lines = said.splitlines()
    if REGRESSED in said:
        return Look(PLAIN, 1, seconds, [line.strip() for line in lines if line.startswith("\t")])
    return Look(PLAIN, 2, seconds, lines[-5:])


def repeat(names: list[str], runs: int, directory: Path, *, parts: int = 1) -> Iterator[Look]:
    """Runs each gate in turn, so many times. Raises PlainError."""
    copy, store = str(copy_tree(directory / "copy")), directory / "saved"
    every = [scenario.name for scenario in load_all()] if parts > 1 else []  # none: all
    if PLAIN in names:
        save(store)
    for number in range(runs):
        for gate in GATES:
            if gate.name in names:
                yield run(gate, copy, part(every, number, parts) if gate.name in IN_PARTS else ())
        if PLAIN in names:
            yield compare(store, part(benchmarks(), number, parts))


def table(looks: list[Look]) -> str:
    """One line for each gate: its runs, how many were alarms, how many could not look, and what a run took."""
    lines = [f"{'':14} {'runs':>5} {'alarms':>7} {'could not look':>15} {'s, median':>10} {'s, most':>8}"]
    for name in dict.fromkeys(look.gate for look in looks):
        of_gate = [look for look in looks if look.gate == name]
        alarms = sum(look.status == 1 for look in of_gate)
        blind = sum(look.status not in {0, 1} for look in of_gate)
        seconds = [look.seconds for look in of_gate]
        lines.append(f"{name:14} {len(of_gate):5} {alarms:7} {blind:15} {median(seconds):10.0f} {max(seconds):8.0f}")
    return "\n".join(lines)


def status(looks: list[Look]) -> int:
    """The exit status."""
    return 1 if any(look.status == 1 for look in looks) else int(any(look.status for look in looks)) * 2


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench-trust", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="GATE", help=f"of {', '.join(ALL)}; by default all")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"of each gate; by default {RUNS}")
    parser.add_argument(
        "--parts", type=int, default=1, metavar="N", help="of the scenarios; a run has one; by default 1"
    )
    parser.add_argument("--busy", action="store_true", help="keep a core busy meanwhile")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in ALL]
    if unknown:
        parser.error(f"no gate is called {', '.join(unknown)}: there are {', '.join(ALL)}")
    if asked.runs < 1:
        parser.error(f"--runs {asked.runs}: at least one run is needed")
    if not 1 <= asked.parts <= len(benchmarks()):
        parser.error(f"--parts {asked.parts}: 1 to {len(benchmarks())} are allowed")
    looks: list[Look] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if asked.busy:
            stack.enter_context(busy())
        say(f"{asked.runs} runs of each gate on {os.cpu_count()} cores{', one of them busy' if asked.busy else ''}")
        try:
            with suppress(KeyboardInterrupt):
                for look in repeat(asked.names or list(ALL), asked.runs, directory, parts=asked.parts):
                    looks.append(look)
                    say(str(look))
        except PlainError as error:
            say(f"FAILED: {error}")
            return 2
    say(table(looks))
    return status(looks)


if __name__ == "__main__":
    sys.exit(main())
