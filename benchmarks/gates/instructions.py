"""The instruction gate: how many instructions each scenario takes, against a committed baseline.

    python -m benchmarks.gates.instructions [--refresh | --against REV] [--may-skip] [SCENARIO ...]

Instructions do not depend on what else the machine does, so that one per cent shows. What they do depend on, the build
of the interpreter first of all, stands in the baseline beside the counts. Where that is another, the gate counts the
revision at which this branch has left the trunk as well, and compares with that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.harness import DescriptorLimitError, allow_descriptors

from .instruction_count import STEPS, WAY
from .skipping import VARIABLE, SkippedError, check_skip
from .trees import ROOT, RevisionError, default_revision, environment, trees

BASELINES = Path(__file__).parent / "baselines"
# Repeated counts differ by 0.1 % or so, in other directories by up to 0.7 % (`benchmarks/README.md`).
TOLERANCE = 0.01
NOISE = 0.005  # what a refresh leaves as it was
# What runs inside the scenarios. Others are only imported.
LIBRARIES = ("anyio", "orjson", "pydantic-core", "uvicorn", "websockets")
DESCRIPTORS = 2048  # scenarios open 1,000 and a few
# Processor features by which the C library and orjson choose among variants of a function.
FEATURES = ("avx2", "bmi2", "erms", "fsrm")

Counts: TypeAlias = "dict[str, int]"  # {scenario: instructions per step}
Facts: TypeAlias = "dict[str, str]"  # {what counts depend on: what it is here}


class Baseline(NamedTuple):
    """Counts, and what they were counted with."""

    facts: Facts
    counts: Counts


class CountingError(RuntimeError):
    """Valgrind, or what runs under it, has failed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"the scenarios could not be counted:\n{self.said}"


class Verdict(NamedTuple):
    """What became of one scenario."""

    name: str
    expected: int | None  # None: not in the baseline
    counted: int | None  # None: not among the scenarios

    @property
    def failed(self) -> bool:
        """Whether it takes more than the tolerance allows, or is not in both."""
        if self.expected is None or self.counted is None:
            return True
        return self.counted > self.expected * (1 + TOLERANCE)

    @property
    def improved(self) -> bool:
        """Whether it takes so much less that the baseline should follow."""
        return bool(self.expected and self.counted and self.counted < self.expected * (1 - TOLERANCE))

    @property
    def change(self) -> float:
        """What it takes more, as a share of what was expected; 0 where there is nothing to compare."""
        return self.counted / self.expected - 1 if self.expected and self.counted else 0.0

    def __str__(self) -> str:
        if self.expected is None or self.counted is None:
            where = "the baseline" if self.expected is None else "the scenarios"
            return f"{self.name:26} is not in {where}: --refresh"
        word = "MORE" if self.failed else "less: --refresh" if self.improved else "same"
        return f"{self.name:26} {self.expected:12,} {self.counted:12,} {100 * self.change:+8.2f} %  {word}"


def judge(expected: Counts, counted: Counts) -> list[Verdict]:
    """A verdict for each scenario of either."""
    return [Verdict(name, expected.get(name), counted.get(name)) for name in {**counted, **expected}]


def facts_here() -> Facts:
    """What counts depend on, here."""
    libc, libc_version = platform.libc_ver()
    return {
        "python": sys.version,
        "machine": machine(),
        "libc": f"{libc} {libc_version}",
        "valgrind": valgrind_version(),
        "counted": WAY,
        **{library: version(library) for library in LIBRARIES},
    }


def machine() -> str:
    """The architecture, and the processor's features that counts depend on."""
    flags = set(re.findall(r"\w+", _first_line("/proc/cpuinfo", "flags")))
    return " ".join([platform.machine(), *(feature for feature in FEATURES if feature in flags)])


def valgrind_version() -> str:
    """What valgrind says of itself."""
    return subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _first_line(path: str, key: str) -> str:
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return next((line for line in lines if line.startswith(key)), "")


def has_valgrind() -> bool:
    """Whether there is something to count with."""
    return shutil.which("valgrind") is not None


def baseline_path() -> Path:
    """Where the baseline of this Python is."""
    name = f"{platform.python_implementation().lower()}-{sys.version_info.major}.{sys.version_info.minor}.json"
    return BASELINES / name


def read_baseline(path: Path) -> Baseline | None:
    """What was committed, if anything was."""
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    return Baseline(found["facts"], found["instructions per step"])


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Writes one line per fact and per count, so that the diff tells the change."""
    content = {"facts": baseline.facts, "instructions per step": baseline.counts}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def follow(baseline: Baseline | None, counted: Baseline) -> Baseline:
    """The next baseline: what was counted, but for scenarios that have not moved, so that a diff shows those that have.

    A number that stays does not drift: the next refresh is held against it again.
    """
    if baseline is None or baseline.facts != counted.facts:
        return counted
    counts = {
        name: was if (was := baseline.counts.get(name)) and abs(number / was - 1) <= NOISE else number
        for name, number in counted.counts.items()
    }
    return Baseline(counted.facts, counts)


def why_not(baseline: Baseline | None) -> str | None:
    """Why this interpreter cannot be held against the baseline; None if it can."""
    if baseline is None:
        return f"there is no {baseline_path().name} in benchmarks/gates/baselines"
    here = facts_here()
    others = [
        f"{fact} {was!r}, here {here.get(fact)!r}" for fact, was in baseline.facts.items() if here.get(fact) != was
    ]
    return "the baseline was counted with another " + "; ".join(others) if others else None


def count(root: Path, names: list[str]) -> Counts:
    """Instructions per step of the server in `root`; of all scenarios if `names` is empty.

    Raises:
        CountingError: A scenario does not do what it says, or the like.
    """
    program = [sys.executable, "-m", "benchmarks.gates.instruction_count", str(root)]
    around = environment(root, PYTHONHASHSEED="0")
    jobs = str(os.cpu_count() or 1)
    allow_descriptors(DESCRIPTORS)  # under valgrind it is too late
    _run([*program, "1", "compile what is imported, run nothing"], root, around)
    with tempfile.TemporaryDirectory() as directory:
        valgrind = ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={directory}/%p"]
        pids = json.loads(_run([*valgrind, *program, jobs, *names], root, around))
        return {
            name: round(
                min(_total(f"{directory}/{longer}") - _total(f"{directory}/{shorter}") for shorter, longer in runs)
                / STEPS
            )
            for name, runs in pids.items()
        }


def _run(command: list[str], root: Path, around: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=root, env=around, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CountingError(done.stderr)
    return done.stdout


def _total(path: str) -> int:
    return int(Path(path).read_text().rsplit("summary:", 1)[1])


def count_revision(revision: str, names: list[str]) -> tuple[Counts, Counts]:
    """The counts of `revision` and of this tree, both counted here."""
    with tempfile.TemporaryDirectory() as directory:
        both = trees(revision, Path(directory))
        return count(both.old, names), count(both.new, names)


def say(text: str) -> None:
    """A line for whoever runs the gate."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def report(verdicts: list[Verdict]) -> int:
    """Prints the verdicts; returns the exit status."""
    say(f"{'instructions per step':26} {'expected':>12} {'counted':>12} {'change':>10}")
    for verdict in verdicts:
        say(str(verdict))
    failed = [verdict for verdict in verdicts if verdict.failed]
    if failed:
        say(
            f"FAILED: {len(failed)} of {len(verdicts)}: over {TOLERANCE:.0%} more than expected, or nothing to compare."
        )
    else:
        say(f"passed: {len(verdicts)} scenarios take as many as expected, or less (tolerance {TOLERANCE:.0%}).")
    return int(bool(failed))


def gate(*, names: list[str], refresh: bool, against: str | None, may_skip: bool = False) -> int:
    """The gate; returns the exit status.

    Raises:
        SkippedError: There is no valgrind, in CI, and `may_skip` is not set.
    """
    if not has_valgrind():
        check_skip("valgrind is not installed, and nothing else counts instructions", may_skip=may_skip)
        return 0
    if against is not None:
        return report(judge(*count_revision(against, names)))
    path = baseline_path()
    baseline = read_baseline(path)
    if refresh:
        counted = Baseline(facts_here(), count(ROOT, []))
        report(judge(baseline.counts if baseline else {}, counted.counts))
        write_baseline(path, follow(baseline, counted))
        say(f"refreshed: {path.relative_to(ROOT)}")
        return 0
    problem = why_not(baseline)
    if problem is not None or baseline is None:
        against = default_revision()
        say(f"{problem}. Both {against[:12]} and this tree are counted; --refresh makes a baseline of this one.")
        return report(judge(*count_revision(against, names)))
    expected = {name: number for name, number in baseline.counts.items() if not names or name in names}
    return report(judge(expected, count(ROOT, names)))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench-instructions", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="by default all")
    parser.add_argument("--refresh", action="store_true", help="make what is counted here the baseline of this Python")
    parser.add_argument("--against", metavar="REV", help="count a revision here, in place of the baseline")
    parser.add_argument("--may-skip", action="store_true", help=f"pass in CI without valgrind, as {VARIABLE}=1 does")
    asked = parser.parse_args()
    try:
        return gate(names=asked.names, refresh=asked.refresh, against=asked.against, may_skip=asked.may_skip)
    except (CountingError, DescriptorLimitError, RevisionError, SkippedError) as error:
        say(f"FAILED: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
