"""Every gate on every planted change, and the table of what has caught it.

    python -m benchmarks.gates.planted [--gates GATE ...] [--results FILE] [--write] [-- PART OF A NAME ...]

A change is planted in a copy of this tree, and the gates that may see it compare the copy with this tree: those of its
kind, or all that --gates names. The last row is a copy in which nothing was planted, which all gates look at. Results
are kept in FILE, one line of JSON each, and what is there is not looked at again. `--write` makes a table of them:
benchmarks/PLANTED.md.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.harness import allow_descriptors

from . import instructions
from .careless import CARELESS
from .careless_counted import CARELESS_COUNTED
from .exact.__main__ import PARTS
from .exact.figures import CountError, Figures, Part, Verdict, count, judge
from .faults import COUNTED_FAULTS, FAULTS, CountedFault, Fault, plant
from .planted_table import BENCHMARKS, UNCHANGED, Result, write_table
from .trees import ROOT, copy_tree, environment

Planted: TypeAlias = "Fault | CountedFault | None"  # None: nothing

# For each room of the server the scenarios and benchmarks that are near: those of a second or less under valgrind.
# A change that a scenario is there for is counted in that one.
WAYS: dict[str, tuple[str, ...]] = {
    "core": ("publish-and-turn", "resume"),
    "broadcaster": ("publish-and-turn", "short-write"),
    "transport": ("intake-to-log", "handshake"),
    "routes": ("json-publish", "http-publish"),
}
SELECTED: dict[str, tuple[str, ...]] = {
    "core": (
        "test_append.py::test_append[100]",
        "test_append.py::test_read_after[log]",
        "test_encode.py::test_encode[plain_frame]",
        "test_encode.py::test_encode[sse_chunk]",
        "test_encode.py::test_slice_and_join[per cohort-100]",
        "test_deflate.py::test_publish_and_sweep[100-compressed]",
        "test_dialects.py::test_publish_and_sweep[100-plain]",
        "test_overflow.py::test_resume[cursor-100]",
    ),
    "broadcaster": (
        "test_dialects.py::test_publish_and_sweep[100-plain]",
        "test_overflow.py::test_short_write",
        "test_sweep.py::test_append_and_sweep[1-100]",
        "test_sweep.py::test_append_and_sweep[1-1000]",
    ),
    "transport": (
        "test_protocol.py::test_hello",
        "test_protocol.py::test_intake[whole]",
    ),
    "routes": (
        "test_dialects.py::test_answer[publish]",
        "test_dialects.py::test_answer[come and go]",
    ),
}
_REGRESSED = re.compile(r"(\w+(?:\[.*?\])?) \(\S+\) - Field 'mean' has failed \w+: (\S+) >")


class PlantedError(RuntimeError):
    """A gate could not look at a planted change."""

    def __init__(self, gate: str, said: str) -> None:
        super().__init__(gate, said)
        self.gate = gate
        self.said = said

    def __str__(self) -> str:
        return f"{self.gate} could not look:\n{self.said}"


class Unchanged:
    """This tree, copied, and what is counted of it once for all changes."""

    def __init__(self, directory: Path) -> None:
        self.root = tree(directory / "clean")
        self.storage = directory / "saved"
        self._figures: dict[str, Figures] = {}
        self._counts: dict[str, int] = {}

    def figures(self, part: Part) -> Figures:
        """Returns the figures of a part of the exact gate."""
        if part.name not in self._figures:
            self._figures[part.name] = count(part, self.root)
        return self._figures[part.name]

    def counts(self, names: list[str]) -> dict[str, int]:
        """Returns the instructions of the scenarios."""
        missing = [name for name in names if name not in self._counts]
        if missing:
            self._counts |= instructions.count(self.root, missing)
        return {name: self._counts[name] for name in names}

    def save(self) -> Path:
        """Returns where all of SELECTED were saved."""
        if not self.storage.exists():
            benchmarks(self.root, self.storage, near(SELECTED, None), "--benchmark-save=clean")
        return self.storage


def near(places: dict[str, tuple[str, ...]], fault: Planted) -> list[str]:
    """Returns what is near a change, by the rooms that it touches; all of it for None."""
    rooms = places if fault is None else dict.fromkeys(edit.file.partition("/")[0] for edit in fault.edits)
    return list(dict.fromkeys(name for room in rooms for name in places[room]))


def tree(root: Path) -> Path:
    """Returns a copy of this tree in which benchmarks can be run as pytest runs them."""
    copy_tree(root)
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copytree(ROOT / "tests", root / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def benchmarks(root: Path, storage: Path, nodes: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Runs pytest-benchmark's plain command. Raises PlantedError if it fails, but for what has regressed."""
    command = [sys.executable, "-m", "pytest", f"--benchmark-storage={storage}", *options]
    command += [f"benchmarks/{node}" for node in nodes]
    around = environment(root, PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(command, cwd=root, env=around, capture_output=True, text=True, check=False)
    if done.returncode and not regressions(done.stdout + done.stderr):
        raise PlantedError(BENCHMARKS, (done.stdout + done.stderr)[-2000:])
    return done


def regressions(said: str) -> list[tuple[float, str]]:
    """Returns by how many per cent which benchmarks have regressed, as pytest-benchmark says."""
    return [(float(change), name) for name, change in _REGRESSED.findall(said)]


def by_benchmarks(root: Path, unchanged: Unchanged, fault: Planted) -> str:
    """Returns what `--benchmark-compare-fail=mean:10%` has found to have grown most; empty if nothing has."""
    options = ("--benchmark-compare", "--benchmark-compare-fail=mean:10%")
    done = benchmarks(root, unchanged.save(), near(SELECTED, fault), *options)
    found = regressions(done.stdout + done.stderr)
    return "{1} {0:+,.0f} %".format(*max(found)) if found else ""


def by_instructions(root: Path, unchanged: Unchanged, fault: Planted) -> str:
    """Returns the scenario that takes most instructions more, for the instruction gate; empty if none does."""
    names = [fault.seen_in] if isinstance(fault, Fault) else near(WAYS, fault) if fault else all_scenarios()
    verdicts = instructions.judge(unchanged.counts(names), instructions.count(root, names))
    grown = [(one.change, one.name) for one in verdicts if one.failed]
    return "{1} {0:+,.1%}".format(*max(grown)).replace("%", " %") if grown else ""


def growth(verdict: Verdict) -> float:
    """Returns by how much a figure has grown, as a share of what it was."""
    assert verdict.was is not None
    assert verdict.counted is not None
    return (verdict.counted - verdict.was) / max(verdict.was, 1e-9)


def by_part(part: Part, root: Path, unchanged: Unchanged, fault: Planted) -> str:
    """Returns the figure that is there for the change, or that has grown most; empty if none has."""
    was = unchanged.figures(part)
    found = [one for one in judge(part, was, count(part, root)) if one.failed]
    if found:  # what was more by chance is not more twice, as in the gate
        again = {one.name for one in judge(part, was, count(part, root)) if one.failed}
        found = [one for one in found if one.name in again]
    if not found:
        return ""
    wanted = fault.figure if isinstance(fault, CountedFault) else ""
    most = max(found, key=lambda one: (one.name == wanted, growth(one)))
    return f"{most.name}: {most.was:,.6g} -> {most.counted:,.6g}"


LOOKS: dict[str, Callable[[Path, Unchanged, Planted], str]] = {
    **{part.name: partial(by_part, part) for part in PARTS},
    "instructions": by_instructions,
    BENCHMARKS: by_benchmarks,
}

# By the gate that is there for a change: those that may see it.
KINDS = {
    "instructions": ["instructions", BENCHMARKS],
    "memory": ["memory"],
    "calls": ["calls", "instructions"],
    "latency": ["latency", "wakeups"],
    "wakeups": ["wakeups", "latency"],
}


def look(fault: Planted, gates: list[str], unchanged: Unchanged, directory: Path) -> Iterator[Result]:
    """Plants the change, and has the gates look."""
    root = tree(directory / "plant")
    try:
        if fault is not None:
            plant(fault, root)
        new = fault in (*CARELESS, *CARELESS_COUNTED)
        for gate in gates:
            yield Result(name_of(fault), new, gate, LOOKS[gate](root, unchanged, fault))
    finally:
        shutil.rmtree(root)


def near_gates(fault: Planted) -> list[str]:
    """Returns the gates that may see the change: all for None."""
    if fault is None:
        return list(LOOKS)
    return KINDS[fault.part if isinstance(fault, CountedFault) else "instructions"]


def name_of(fault: Planted) -> str:
    """Returns what reports call it."""
    return UNCHANGED if fault is None else fault.name


def all_scenarios() -> list[str]:
    """Returns the names of all scenarios."""
    from .scenarios import load_all  # noqa: PLC0415 - it imports the server

    return [scenario.name for scenario in load_all()]


def read_results(path: Path) -> list[Result]:
    """Returns the results that are there."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def wanted_faults(parts: list[str]) -> list[Planted]:
    """Returns the changes whose names have one of `parts` in them, all if there are none; last None, for no change."""
    every: tuple[Planted, ...] = (*CARELESS, *CARELESS_COUNTED, *COUNTED_FAULTS, *FAULTS, None)
    return [fault for fault in every if not parts or any(part in name_of(fault) for part in parts)]


def run(faults: list[Planted], gates: list[str], path: Path) -> list[Result]:
    """Has the gates, or those near it, look at each change, but for what the file has; adds to it, and returns all."""
    results = read_results(path)
    with tempfile.TemporaryDirectory() as directory:
        unchanged: Unchanged | None = None
        for fault in faults:
            done = {result.gate for result in results if result.name == name_of(fault)}
            left = [gate for gate in gates or near_gates(fault) if gate not in done]
            if not left:
                continue
            unchanged = unchanged or Unchanged(Path(directory))
            try:
                for result in look(fault, left, unchanged, Path(directory)):
                    results.append(result)
                    with path.open("a") as file:
                        file.write(json.dumps(result._asdict(), ensure_ascii=False) + "\n")
                    instructions.say(f"{result.name}: {result.gate}: {result.caught or '-'}")
            except (CountError, PlantedError, instructions.CountingError) as error:
                instructions.say(f"{name_of(fault)}: FAILED, and tried again in the next run: {error}")
    return results


def report(results: list[Result]) -> int:
    """Prints which changes were caught by none; returns the exit status."""
    caught = {result.name for result in results if result.caught}
    names = list(dict.fromkeys(result.name for result in results))
    missed = [name for name in names if name not in caught and name != UNCHANGED]
    none = ", ".join(missed) or "all are caught by one at least"
    instructions.say(f"{len(names)} looked at. Caught by none: {none}.")
    if UNCHANGED in names:
        instructions.say(f"{'An' if UNCHANGED in caught else 'No'} alarm where nothing was planted.")
    return int(bool(missed) or UNCHANGED in caught)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench-planted", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART OF A NAME", help="by default all changes")
    parser.add_argument("--gates", nargs="+", choices=LOOKS, default=[], help="by default those near")
    parser.add_argument("--results", type=Path, default=Path("planted.jsonl"), metavar="FILE", help="%(default)s")
    parser.add_argument("--write", action="store_true", help="write benchmarks/PLANTED.md")
    asked = parser.parse_args()
    allow_descriptors(instructions.DESCRIPTORS)
    faults = wanted_faults(asked.parts)
    results = run(faults, asked.gates, asked.results)
    order = [name_of(fault) for fault in wanted_faults([])]
    results = sorted((result for result in results if result.name in order), key=lambda one: order.index(one.name))
    if asked.write:
        write_table(results, len(order) - 1)
    return report(results)


if __name__ == "__main__":
    sys.exit(main())
