"""The A/B gate: this tree against a revision of it, on this machine, now.

    python -m benchmarks.gates.compare REV [SCENARIO ...]

Two processes, one of each tree, take turns at each scenario, round by round, so that whatever the machine does happens
to both. They are started anew for each pair, because where a process happens to lie in memory makes some per cent. A
pair gives one ratio per scenario; the gate fails when the whole confidence interval of their median lies above the
threshold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

from benchmarks.harness import DescriptorLimitError, allow_descriptors

from .instructions import DESCRIPTORS, say
from .intervals import Interval, median_interval
from .trees import RevisionError, default_revision, environment, trees

THRESHOLD = 1.10  # so that what costs a fifth more is caught for sure, and what costs a tenth more often is not
CONFIDENCE = 0.99  # of each interval: there are more than 20 of them in a run
PAIRS = 11
ROUNDS = 7  # per pair; the fastest of each side counts, because what disturbs a round only adds to it
ROUND_NANOSECONDS = 3_000_000

Ratios: TypeAlias = "dict[str, list[float]]"  # {scenario: new / old, one for each pair}


class Side:
    """A process that measures one tree."""

    def __init__(self, process: subprocess.Popen[str], asked: IO[str], answers: IO[str]) -> None:
        self._process = process
        self._asked = asked
        self._answers = answers

    @cached_property
    def problems(self) -> dict[str, str | None]:
        """Why scenarios cannot be measured, or None. Waits until all are built, which both sides are at the same time.

        Is the first thing that a side is asked for. Raises SideError.
        """
        found: dict[str, str | None] = json.loads(self._read())
        return found

    def nanoseconds(self, scenario: str, steps: int) -> int:
        """CPU time of a step. Raises SideError."""
        self._asked.write(f"{scenario} {steps}\n")
        self._asked.flush()
        return int(self._read())

    def _read(self) -> str:
        line = self._answers.readline()
        if not line:
            raise SideError(self._process.wait())
        return line


class SideError(RuntimeError):
    """A measuring process has ended; what it said stands above."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    def __str__(self) -> str:
        return f"a measuring process ended with status {self.status}"


class ScenarioError(RuntimeError):
    """A scenario does not work with the server that it was written for."""

    def __init__(self, scenario: str, problem: str) -> None:
        super().__init__(scenario, problem)
        self.scenario = scenario
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.scenario} does not run in this tree: {self.problem}"


class Compared(NamedTuple):
    """What became of one scenario."""

    name: str
    ratio: Interval

    @property
    def failed(self) -> bool:
        """Whether the new tree is slower, for sure."""
        return self.ratio.low > THRESHOLD

    def __str__(self) -> str:
        word = "SLOWER" if self.failed else "faster" if self.ratio.high < 1 / THRESHOLD else ""
        return f"{self.name:26} {self.ratio}  {word}".rstrip()


@contextmanager
def side(root: Path) -> Iterator[Side]:
    """A measuring process for as long as the context lasts."""
    command = [sys.executable, "-m", "benchmarks.gates.cpu_time", str(root)]
    with subprocess.Popen(
        command, cwd=root, env=environment(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Side(process, process.stdin, process.stdout)
        finally:
            process.stdin.close()  # its end


def comparable(old: Side, new: Side) -> tuple[list[str], dict[str, str]]:
    """The scenarios that both can run, and why the old tree cannot run others.

    Raises:
        ScenarioError: The new tree cannot run one.
    """
    for name, problem in new.problems.items():
        if problem is not None:
            raise ScenarioError(name, problem)
    missing = {name: problem for name, problem in old.problems.items() if problem is not None}
    return [name for name in new.problems if name in old.problems and name not in missing], missing


def compare_pair(old: Side, new: Side, names: list[str]) -> dict[str, float]:
    """One ratio for each scenario."""
    ratios = {}
    for name in names:
        steps = max(1, ROUND_NANOSECONDS // max(1, old.nanoseconds(name, 3)))
        took: dict[Side, list[int]] = {old: [], new: []}
        for number in range(ROUNDS):
            for one in (old, new) if number % 2 else (new, old):  # A B B A: who is first has no advantage
                took[one].append(one.nanoseconds(name, steps))
        ratios[name] = min(took[new]) / min(took[old])
    return ratios


def compare(old_root: Path, new_root: Path, names: list[str], *, pairs: int = PAIRS) -> tuple[Ratios, dict[str, str]]:
    """The ratios of all pairs for the scenarios `names` (all if empty), and why others cannot be compared."""
    allow_descriptors(DESCRIPTORS)
    ratios: Ratios = {}
    missing: dict[str, str] = {}
    for _ in range(pairs):
        with ExitStack() as stack:
            old, new = stack.enter_context(side(old_root)), stack.enter_context(side(new_root))
            common, missing = comparable(old, new)
            for name, ratio in compare_pair(old, new, [one for one in common if not names or one in names]).items():
                ratios.setdefault(name, []).append(ratio)
    return ratios, missing


def judge(ratios: Ratios) -> list[Compared]:
    """What the ratios say about each scenario."""
    return [Compared(name, median_interval(found, confidence=CONFIDENCE)) for name, found in ratios.items()]


def report(revision: str, compared: list[Compared], missing: dict[str, str]) -> int:
    """Prints the verdicts; returns the exit status."""
    say(f"{f'CPU time, this / {revision}':26} median [{CONFIDENCE:.0%} interval]")
    for one in compared:
        say(str(one))
    for name, problem in missing.items():
        say(f"{name:26} not compared: {revision} cannot run it ({problem})")
    failed = [one.name for one in compared if one.failed]
    if failed:
        say(f"FAILED: slower than {revision} by more than {THRESHOLD - 1:.0%}, for sure: {', '.join(failed)}.")
    elif not compared:
        say(f"FAILED: nothing can be compared with {revision}.")
    else:
        say(f"passed: none of {len(compared)} is slower than {revision} by more than {THRESHOLD - 1:.0%}, for sure.")
    return int(bool(failed) or not compared)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench-compare", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "revision", metavar="REV", nargs="?", help="what git knows: main, HEAD~3, a tag; or a folder with another tree"
    )
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="by default all")
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory:
            revision = asked.revision or default_revision()
            ratios, missing = compare(*trees(revision, Path(directory)), asked.names)
            return report(revision, judge(ratios), missing)
    except (DescriptorLimitError, RevisionError, ScenarioError, SideError) as error:
        say(f"FAILED: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
